import { isFailure } from "#base";
import type { ConfigMap, KubeObject, Secret } from "#k8s";
import { type KubeClient, kubePath } from "#wire";

/** ConfigMaps and Secrets as Pods need them. Undefined: there is none. Callers that come together share one request. */
export interface ObjectReader {
  configMap(namespace: string, name: string): Promise<ConfigMap | undefined>;
  secret(namespace: string, name: string): Promise<Secret | undefined>;
  serviceAccount(namespace: string, name: string): Promise<ServiceAccountLike | undefined>;
}

export interface ServiceAccountLike extends KubeObject {
  readonly imagePullSecrets?: readonly { readonly name?: string }[];
}

/** Long enough for the containers of one Pod, and for the Pods of one Deployment, to share an answer. */
const FRESH_MS = 1000;

export function createObjectReader(client: KubeClient): ObjectReader {
  const answers = new Map<string, { readonly at: number; readonly answer: Promise<KubeObject | undefined> }>();

  const read = async <T extends KubeObject>(resource: string, namespace: string, name: string) => {
    const path = kubePath("v1", resource, { namespace, name });
    const now = performance.now();
    for (const [key, { at }] of answers) if (now - at > FRESH_MS) answers.delete(key);
    const known = answers.get(path);
    if (known) return (await known.answer) as T | undefined;
    const answer = client.get<T>(path).catch((error: unknown) => {
      // What is missing may come at any moment, and somebody waits for it.
      answers.delete(path);
      if (isFailure(error, "NotFound")) return undefined;
      throw error;
    });
    answers.set(path, { at: now, answer });
    return await answer;
  };

  return {
    configMap: (namespace, name) => read<ConfigMap>("configmaps", namespace, name),
    secret: (namespace, name) => read<Secret>("secrets", namespace, name),
    serviceAccount: (namespace, name) => read<ServiceAccountLike>("serviceaccounts", namespace, name),
  };
}

/** The value of a key of a ConfigMap: text, or bytes where it holds `binaryData`. */
export function configMapValues(map: ConfigMap): Map<string, Buffer> {
  return new Map([
    ...Object.entries(map.data ?? {}).map(([key, value]) => [key, Buffer.from(value)] as const),
    ...Object.entries(map.binaryData ?? {}).map(([key, value]) => [key, Buffer.from(value, "base64")] as const),
  ]);
}

export function secretValues(secret: Secret): Map<string, Buffer> {
  return new Map(Object.entries(secret.data ?? {}).map(([key, value]) => [key, Buffer.from(value, "base64")]));
}
