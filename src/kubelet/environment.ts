import { Failure } from "#base";
import type { Pod } from "#k8s";
import { type DownwardFacts, fieldValue, resourceValue } from "./downward.ts";
import { expand } from "./expand.ts";
import { configMapValues, type ObjectReader, secretValues } from "./objects.ts";
import { type AnyContainer, namespaceOf } from "./pod.ts";

type EnvVar = NonNullable<AnyContainer["env"]>[number];

/**
 * The variables of a container: `envFrom` in order, then `env`, where each may use those before it, and the Services', by
 * `$(NAME)`; and of the Services those that it does not set itself.
 *
 * @throws Failure in Kubernetes' words where a ConfigMap, Secret or key that is not optional is missing.
 */
export async function environmentOf(
  pod: Pod,
  container: AnyContainer,
  objects: ObjectReader,
  facts: DownwardFacts,
  services: ReadonlyMap<string, string>,
): Promise<Map<string, string>> {
  const env = new Map<string, string>();
  const known = { get: (name: string) => env.get(name) ?? services.get(name) };
  for (const from of container.envFrom ?? []) {
    const values = await envFrom(from, namespaceOf(pod), objects);
    for (const [key, value] of values) env.set((from.prefix ?? "") + key, value.toString());
  }
  for (const variable of container.env ?? []) {
    const value = variable.valueFrom
      ? await valueFrom(variable.valueFrom, pod, container, objects, facts)
      : expand(variable.value ?? "", known);
    if (value !== undefined) env.set(variable.name, value);
  }
  for (const [name, value] of services) if (!env.has(name)) env.set(name, value);
  return env;
}

async function envFrom(
  from: NonNullable<AnyContainer["envFrom"]>[number],
  namespace: string,
  objects: ObjectReader,
): Promise<Map<string, Buffer>> {
  if (from.configMapRef) {
    const { name = "", optional } = from.configMapRef;
    const map = await objects.configMap(namespace, name);
    if (map) return configMapValues(map);
    if (!optional) throw missing("configmap", name);
  } else if (from.secretRef) {
    const { name = "", optional } = from.secretRef;
    const secret = await objects.secret(namespace, name);
    if (secret) return secretValues(secret);
    if (!optional) throw missing("secret", name);
  }
  return new Map();
}

async function valueFrom(
  source: NonNullable<EnvVar["valueFrom"]>,
  pod: Pod,
  container: AnyContainer,
  objects: ObjectReader,
  facts: DownwardFacts,
): Promise<string | undefined> {
  const namespace = namespaceOf(pod);
  if (source.fieldRef) return fieldValue(pod, source.fieldRef.fieldPath, facts);
  if (source.resourceFieldRef) return resourceValue(pod, container, source.resourceFieldRef, facts);
  if (source.configMapKeyRef) {
    const { name = "", key, optional } = source.configMapKeyRef;
    const map = await objects.configMap(namespace, name);
    if (!map && !optional) throw missing("configmap", name);
    const value = map && configMapValues(map).get(key);
    if (value === undefined && !optional) throw missingKey(key, "ConfigMap", namespace, name);
    return value?.toString();
  }
  if (source.secretKeyRef) {
    const { name = "", key, optional } = source.secretKeyRef;
    const secret = await objects.secret(namespace, name);
    if (!secret && !optional) throw missing("secret", name);
    const value = secret && secretValues(secret).get(key);
    if (value === undefined && !optional) throw missingKey(key, "Secret", namespace, name);
    return value?.toString();
  }
  throw new Failure(
    "UNIMPLEMENTED",
    "UNSUPPORTED_ENV",
    `env valueFrom ${Object.keys(source).join(", ")} is not supported`,
  );
}

function missing(kind: string, name: string): Failure {
  return new Failure("NOT_FOUND", "NO_OBJECT", `${kind} ${JSON.stringify(name)} not found`);
}

function missingKey(key: string, kind: string, namespace: string, name: string): Failure {
  return new Failure("NOT_FOUND", "NO_KEY", `couldn't find key ${key} in ${kind} ${namespace}/${name}`);
}
