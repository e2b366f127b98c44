import { Failure } from "#base";
import type { Pod, Volume } from "#k8s";
import { type DownwardFacts, fieldValue, resourceValue } from "./downward.ts";
import { configMapValues, type ObjectReader, secretValues } from "./objects.ts";
import type { PayloadFile } from "./payload.ts";
import { namespaceOf } from "./pod.ts";
import type { TokenSource } from "./service-account-token.ts";

export interface PayloadContext {
  readonly pod: Pod;
  readonly objects: ObjectReader;
  readonly tokens: TokenSource;
  readonly facts: DownwardFacts;
}

interface Item {
  readonly key: string;
  readonly path: string;
  readonly mode?: number;
}

type Downward = NonNullable<NonNullable<Volume["downwardAPI"]>["items"]>;

const DEFAULT_MODE = 0o644;

/** What a configMap, secret, downwardAPI or projected volume holds now; undefined for every other kind. */
export async function payloadOf(
  volume: Volume,
  context: PayloadContext,
): Promise<Map<string, PayloadFile> | undefined> {
  if (volume.configMap) return await fromConfigMap(volume.configMap, volume.configMap.defaultMode, context);
  if (volume.secret) {
    const { secretName, ...secret } = volume.secret;
    return await fromSecret({ ...secret, ...(secretName ? { name: secretName } : {}) }, secret.defaultMode, context);
  }
  if (volume.downwardAPI) return fromDownward(volume.downwardAPI.items, volume.downwardAPI.defaultMode, context);
  if (!volume.projected) return undefined;
  const all = new Map<string, PayloadFile>();
  const { defaultMode, sources } = volume.projected;
  for (const source of sources ?? []) {
    for (const [path, file] of await fromProjection(source, defaultMode, context)) all.set(path, file);
  }
  return all;
}

async function fromProjection(
  source: NonNullable<NonNullable<Volume["projected"]>["sources"]>[number],
  mode: number | undefined,
  context: PayloadContext,
): Promise<Map<string, PayloadFile>> {
  if (source.configMap) return await fromConfigMap(source.configMap, mode, context);
  if (source.secret) return await fromSecret(source.secret, mode, context);
  if (source.downwardAPI) return fromDownward(source.downwardAPI.items, mode, context);
  if (source.serviceAccountToken) {
    const { audience, expirationSeconds = 3600, path } = source.serviceAccountToken;
    const token = await context.tokens.tokenFor(context.pod, { audience, expirationSeconds });
    const shared = context.pod.spec?.securityContext?.fsGroup !== undefined || commonUser(context.pod) !== undefined;
    return new Map([[path, { data: Buffer.from(token), mode: shared ? 0o600 : (mode ?? DEFAULT_MODE) }]]);
  }
  throw new Failure(
    "UNIMPLEMENTED",
    "UNSUPPORTED_SOURCE",
    `projected source ${Object.keys(source).join(", ")} is not supported`,
  );
}

/** The user that all containers run as, where they agree: a token file may then belong to it alone. */
export function commonUser(pod: Pod): number | undefined {
  const fallback = pod.spec?.securityContext?.runAsUser;
  const users = new Set(
    [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])].map(
      (container) => container.securityContext?.runAsUser ?? fallback,
    ),
  );
  return users.size === 1 ? [...users][0] : undefined;
}

interface Named {
  readonly name?: string;
  readonly items?: readonly Item[];
  readonly optional?: boolean;
}

async function fromConfigMap(source: Named, mode: number | undefined, { pod, objects }: PayloadContext) {
  const map = await objects.configMap(namespaceOf(pod), source.name ?? "");
  return select("configmap", source, map && configMapValues(map), mode);
}

async function fromSecret(source: Named, mode: number | undefined, { pod, objects }: PayloadContext) {
  const secret = await objects.secret(namespaceOf(pod), source.name ?? "");
  return select("secret", source, secret && secretValues(secret), mode);
}

function select(
  kind: string,
  source: Named,
  values: Map<string, Buffer> | undefined,
  mode: number | undefined,
): Map<string, PayloadFile> {
  const files = new Map<string, PayloadFile>();
  if (!values) {
    if (source.optional) return files;
    throw new Failure("NOT_FOUND", "NO_OBJECT", `${kind} ${JSON.stringify(source.name ?? "")} not found`);
  }
  if (!source.items?.length) {
    for (const [key, data] of values) files.set(key, { data, mode: mode ?? DEFAULT_MODE });
    return files;
  }
  for (const item of source.items) {
    const data = values.get(item.key);
    if (data) files.set(safePath(item.path), { data, mode: item.mode ?? mode ?? DEFAULT_MODE });
    else if (!source.optional)
      throw new Failure("NOT_FOUND", "NO_KEY", `${kind} references non-existent config key: ${item.key}`);
  }
  return files;
}

function fromDownward(items: Downward | undefined, mode: number | undefined, { pod, facts }: PayloadContext) {
  const files = new Map<string, PayloadFile>();
  for (const item of items ?? []) {
    const value = item.fieldRef
      ? fieldValue(pod, item.fieldRef.fieldPath, facts)
      : item.resourceFieldRef
        ? resourceValue(pod, undefined, item.resourceFieldRef, facts)
        : "";
    files.set(safePath(item.path), { data: Buffer.from(value), mode: item.mode ?? mode ?? DEFAULT_MODE });
  }
  return files;
}

/** The API server validates item paths; a kubelet that writes as root does so again. */
function safePath(path: string): string {
  if (path.startsWith("/") || path.split("/").includes("..") || path.startsWith(".."))
    throw new Failure("INVALID_ARGUMENT", "UNSAFE_PATH", `volume item path ${JSON.stringify(path)} leaves the volume`);
  return path;
}
