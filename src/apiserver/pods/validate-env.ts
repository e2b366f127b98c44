import { canonicalQuantity, parseQuantity, type AnyContainer, type PodSpec } from "#k8s";
import type { FieldErrors } from "../field-errors.ts";
import { configKeyErrors, dnsLabelErrors, dnsSubdomainErrors, envNameErrors, qualifiedNameErrors } from "../names.ts";
import { containersWithPaths } from "./rules.ts";
import { noBacksteps } from "./validate-paths.ts";

type EnvSource = NonNullable<NonNullable<AnyContainer["env"]>[number]["valueFrom"]>;

const ENV_FIELDS = [
  "metadata.name",
  "metadata.namespace",
  "metadata.uid",
  "spec.nodeName",
  "spec.serviceAccountName",
  "status.hostIP",
  "status.hostIPs",
  "status.podIP",
  "status.podIPs",
];

/** Upstream's ValidateEnv and ValidateEnvFrom. */
export function validateEnvironment(container: AnyContainer, at: string, errors: FieldErrors): void {
  for (const [i, { name, value = "", valueFrom }] of (container.env ?? []).entries()) {
    const here = `${at}.env[${i}]`;
    if (!name) errors.required(`${here}.name`);
    else errors.invalidAll(`${here}.name`, name, envNameErrors(name));
    if (valueFrom !== undefined) oneSource(valueFrom, value, `${here}.valueFrom`, errors);
  }
  const field = `${at}.envFrom`;
  for (const [i, from] of (container.envFrom ?? []).entries()) {
    if (from.prefix) errors.invalidAll(`${field}[${i}].prefix`, from.prefix, envNameErrors(from.prefix));
    let sources = 0;
    for (const kind of ["configMapRef", "secretRef"] as const) {
      const ref = from[kind];
      if (ref === undefined) continue;
      sources++;
      const name = ref.name ?? "";
      if (name === "") errors.required(`${field}[${i}].${kind}.name`);
      else errors.invalidAll(`${field}[${i}].${kind}.name`, name, dnsSubdomainErrors(name.replace(/(?<=.)-$/, "a")));
    }
    if (sources === 0) errors.invalid(field, "", "must specify one of: `configMapRef` or `secretRef`");
    else if (sources > 1) errors.invalid(field, "", "may not have more than one field specified at a time");
  }
}

function oneSource(from: EnvSource, value: string, field: string, errors: FieldErrors): void {
  const { fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef, fileKeyRef } = from;
  if (fieldRef !== undefined) validateFieldRef(fieldRef, `${field}.fieldRef`, ENV_FIELDS, errors);
  if (resourceFieldRef !== undefined) validateResourceRef(resourceFieldRef, `${field}.resourceFieldRef`, false, errors);
  if (configMapKeyRef !== undefined) keyRef(configMapKeyRef, `${field}.configMapKeyRef`, errors);
  if (secretKeyRef !== undefined) keyRef(secretKeyRef, `${field}.secretKeyRef`, errors);
  if (fileKeyRef !== undefined) fileRef(fileKeyRef, `${field}.fileKeyRef`, errors);
  const all = [fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef, fileKeyRef];
  const sources = all.filter((source) => source !== undefined).length;
  if (sources === 0)
    errors.invalid(
      field,
      "",
      "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
    );
  else if (value !== "") errors.invalid(field, "", "may not be specified when `value` is not empty");
  else if (sources > 1) errors.invalid(field, "", "may not have more than one field specified at a time");
}

function keyRef({ name = "", key }: { name?: string; key: string }, field: string, errors: FieldErrors): void {
  errors.invalidAll(`${field}.name`, name, dnsSubdomainErrors(name));
  if (!key) errors.required(`${field}.key`);
  else errors.invalidAll(`${field}.key`, key, configKeyErrors(key));
}

function fileRef(ref: NonNullable<EnvSource["fileKeyRef"]>, field: string, errors: FieldErrors): void {
  if (!ref.key) errors.required(`${field}.key`);
  else errors.invalidAll(`${field}.key`, ref.key, envNameErrors(ref.key));
  if (!ref.volumeName) errors.required(`${field}.volumeName`);
  else errors.invalidAll(`${field}.volumeName`, ref.volumeName, dnsLabelErrors(ref.volumeName));
  if (!ref.path) errors.required(`${field}.path`);
  else noBacksteps(ref.path, `${field}.path`, errors);
}

/** A file of variables lies in an emptyDir: checked last, over all containers. */
export function validateEnvFiles(spec: PodSpec, field: string, errors: FieldErrors): void {
  const volumes = new Map((spec.volumes ?? []).map((volume) => [volume.name, volume]));
  for (const { at, container } of containersWithPaths(spec, field))
    for (const [i, env] of (container.env ?? []).entries()) {
      const name = env.valueFrom?.fileKeyRef?.volumeName;
      if (name === undefined) continue;
      const here = `${at}.env[${i}].valueFrom.fileKeyRef.volumeName`;
      const volume = volumes.get(name);
      if (volume === undefined) errors.notFound(here, name);
      else if (volume.emptyDir === undefined) errors.invalid(here, name, "referenced volume must be of type emptyDir");
    }
}

/** What the downward API can name at all; which of it is allowed depends on the place. */
const DOWNWARD = [
  "metadata.annotations",
  "metadata.labels",
  "metadata.name",
  "metadata.namespace",
  "metadata.uid",
  "spec.nodeName",
  "spec.restartPolicy",
  "spec.serviceAccountName",
  "spec.schedulerName",
  "status.phase",
  "status.hostIP",
  "status.hostIPs",
  "status.podIP",
  "status.podIPs",
];

/** What clients of long ago call the node's name. */
const OLD_NODE_NAME = "spec.host";

/** A reference to a field of the Pod, from the environment or from a file. */
export function validateFieldRef(
  ref: { readonly apiVersion?: string; readonly fieldPath: string },
  field: string,
  allowed: readonly string[],
  errors: FieldErrors,
): void {
  const path = ref.fieldPath;
  if (!ref.apiVersion) return errors.required(`${field}.apiVersion`);
  if (!path) return errors.required(`${field}.fieldPath`);
  const cannot = (why: string): void =>
    errors.invalid(`${field}.fieldPath`, path, `error converting fieldPath: ${why}`);
  if (ref.apiVersion !== "v1") return cannot(`unsupported pod version: ${ref.apiVersion}`);
  const [, map, key] = /^(.+?)\['(.*)'\]$/s.exec(path) ?? [];
  if (map === undefined || key === undefined) {
    const known = path === OLD_NODE_NAME ? "spec.nodeName" : path;
    if (!DOWNWARD.includes(known)) cannot(`field label not supported: ${path}`);
    else if (!allowed.includes(known)) errors.unsupported(`${field}.fieldPath`, known, allowed.toSorted());
  } else if (map === "metadata.annotations") {
    const name = key.toLowerCase();
    errors.invalidAll(field, name, qualifiedNameErrors(name));
  } else if (map === "metadata.labels") errors.invalidAll(field, key, qualifiedNameErrors(key));
  else cannot(`field label does not support subscript: ${path}`);
}

const RESOURCES = [
  "limits.cpu",
  "limits.ephemeral-storage",
  "limits.memory",
  "requests.cpu",
  "requests.ephemeral-storage",
  "requests.memory",
];
const SIZES = ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
const HUGE = /^(limits|requests)\.hugepages-/;

/** A reference to a container's limit or request. In a volume it must say which container. */
export function validateResourceRef(
  ref: { readonly containerName?: string; readonly resource: string; readonly divisor?: string },
  field: string,
  inVolume: boolean,
  errors: FieldErrors,
): void {
  const { resource } = ref;
  if (inVolume && !ref.containerName) errors.required(`${field}.containerName`);
  else if (!resource) errors.required(`${field}.resource`);
  else if (!RESOURCES.includes(resource) && !HUGE.test(resource))
    errors.unsupported(`${field}.resource`, resource, RESOURCES);
  const divisor = canonicalQuantity(ref.divisor ?? "0");
  if (parseQuantity(divisor).nano === 0n) return;
  const refuse = (what: string): void => errors.invalid(`${field}.divisor`, resource, what);
  if (resource.endsWith(".cpu")) {
    if (!["1m", "1"].includes(divisor)) refuse("only divisor's values 1m and 1 are supported with the cpu resource");
    return;
  }
  const kind = resource.endsWith(".memory")
    ? "memory"
    : resource.endsWith(".ephemeral-storage")
      ? "local ephemeral storage"
      : HUGE.test(resource)
        ? "hugepages"
        : undefined;
  if (kind !== undefined && !SIZES.includes(divisor))
    refuse(`only divisor's values ${SIZES.join(", ")} are supported with the ${kind} resource`);
}
