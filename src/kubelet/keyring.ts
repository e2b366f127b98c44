import { Failure, messageOf } from "#base";
import type { Secret } from "#k8s";
import type { Reference } from "#oci";
import type { AuthInit } from "./cri.ts";
import type { PullCredential } from "./pull-records.ts";

/** One login and the registries, globs or path prefixes it is for. */
export interface KeyringEntry {
  /** `quay.io`, `*.example.com`, `quay.io/team`, with or without a port. */
  readonly pattern: string;
  readonly auth: AuthInit;
  /** The Secret it is from; the node's own logins have none. */
  readonly secret?: PullCredential["secret"];
}

interface DockerAuth {
  readonly auth?: string;
  readonly username?: string;
  readonly password?: string;
  readonly identitytoken?: string;
  readonly registrytoken?: string;
}

/** Reads `config.json` (`auths`), or with `legacy` a `.dockercfg`. @throws Failure BAD_DOCKER_CONFIG, without its text */
export function parseDockerConfig(text: string, legacy = false): KeyringEntry[] {
  let config: { readonly auths?: Record<string, DockerAuth> };
  try {
    const parsed = JSON.parse(text) as Record<string, DockerAuth>;
    config = legacy ? { auths: parsed } : parsed;
  } catch {
    // The parser's own message would quote the secret.
    throw new Failure("INVALID_ARGUMENT", "BAD_DOCKER_CONFIG", "the docker config is not JSON");
  }
  return Object.entries(config.auths ?? {}).map(([registry, auth]) => ({
    pattern: patternOf(registry),
    auth: authOf(registry, auth),
  }));
}

/** `https://quay.io/v2/team/` → `quay.io/team/`: what the API's version stands for is the host. */
function patternOf(registry: string): string {
  const [host = "", ...path] = registry.replace(/^https?:\/\//, "").split("/");
  const [first = "", ...rest] = path;
  return [host, ...(first === "v1" || first === "v2" ? rest : path)].join("/").replace(/^([^/]*)\/$/, "$1");
}

/** The logins of a pull secret, of either type. @throws Failure that names the secret */
export function keysOfSecret(secret: Secret): KeyringEntry[] {
  const { uid = "", namespace = "", name = "" } = secret.metadata ?? {};
  const json = secret.data?.[".dockerconfigjson"];
  const legacy = secret.data?.[".dockercfg"];
  try {
    const entries =
      secret.type === "kubernetes.io/dockerconfigjson" && json
        ? parseDockerConfig(decode(json))
        : secret.type === "kubernetes.io/dockercfg" && legacy
          ? parseDockerConfig(decode(legacy), true)
          : [];
    return entries.map((entry) => ({ ...entry, secret: { uid, namespace, name } }));
  } catch (error) {
    throw new Failure("INVALID_ARGUMENT", "BAD_PULL_SECRET", `secret ${namespace}/${name}: ${messageOf(error)}`);
  }
}

/**
 * Every login that is for this reference, the most specific first, which is the last by its pattern's letters, as upstream has
 * it: a longer path before a shorter one, a name before a glob. The order of logins for one pattern is kept.
 */
export function matchKeys(entries: readonly KeyringEntry[], reference: Reference): PullCredential[] {
  const found = entries.filter(({ pattern }) => globMatchesReference(pattern, reference));
  return found
    .sort((a, b) => Buffer.compare(Buffer.from(b.pattern), Buffer.from(a.pattern)))
    .map(({ auth, secret }) => ({ auth, secret }));
}

/** True where a pattern (`quay.io`, `*.example.com:5000/team`) is for this reference. Its path is a beginning, to the letter. */
export function globMatchesReference(pattern: string, { registry, repository }: Reference): boolean {
  const [host = "", ...path] = pattern.split("/");
  const prefix = path.join("/");
  const known = host === "index.docker.io" || host === "registry-1.docker.io" ? "docker.io" : host;
  const [wantedName, wantedPort] = splitPort(known);
  const [name, port] = splitPort(registry);
  if (wantedPort !== port) return false;
  const wanted = wantedName.split(".");
  const labels = name.split(".");
  if (wanted.length !== labels.length || !wanted.every((glob, i) => globMatches(glob, labels[i] ?? ""))) return false;
  return repository.startsWith(prefix);
}

const splitPort = (host: string): [string, string | undefined] => {
  const match = /^(.*?)(?::(\d+))?$/.exec(host);
  return [match?.[1] ?? host, match?.[2]];
};

function globMatches(glob: string, label: string): boolean {
  const pattern = glob
    .replace(/[.+^${}()|\\]/g, "\\$&")
    .replaceAll("*", ".*")
    .replaceAll("?", ".");
  return new RegExp(`^${pattern}$`).test(label);
}

function authOf(
  serverAddress: string,
  { auth, username, password, identitytoken, registrytoken }: DockerAuth,
): AuthInit {
  const decoded = auth ? decode(auth) : "";
  const colon = decoded.indexOf(":");
  return {
    serverAddress,
    username: username || (colon < 0 ? "" : decoded.slice(0, colon)),
    // Docker pads what it encodes with NUL.
    password: password || (colon < 0 ? "" : decoded.slice(colon + 1).replaceAll("\0", "")),
    identityToken: identitytoken ?? "",
    registryToken: registrytoken ?? "",
  };
}

const decode = (base64: string): string => Buffer.from(base64, "base64").toString("utf8");
