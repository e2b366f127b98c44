import { readFile } from "node:fs/promises";
import { errnoOf, messageOf, silent, type Log } from "#base";
import type { Credentials } from "#oci";
import { askHelper } from "./credential-helper.ts";

/** What the host itself knows of passwords. */
export interface CredentialStore {
  /** The credentials for a repository of a registry, the most specific first. `docker.io` is its own name here. */
  lookup(registry: string, repository: string): Promise<readonly Credentials[]>;
}

/** For hosts without credential files, and for tests. */
export const noCredentials: CredentialStore = { lookup: () => Promise.resolve([]) };

export interface CredentialFilesOptions {
  /** docker's `config.json` and containers' `auth.json`, in the order in which to ask them. A missing one is passed over. */
  readonly files: readonly string[];
  /** Where `docker-credential-…` programs are found; the PATH of this process where absent. */
  readonly helperPath?: string;
  readonly log?: Log;
}

/**
 * docker's and podman's credential files, read at each lookup. Keys may be hosts, URLs as old dockers wrote them, or a host
 * with the beginning of a path (`quay.io/team`), of which the longest comes first. A helper named for the host comes before
 * what the file holds itself. https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md
 *
 * A file that cannot be read is told to the log and passed over: most pulls need none.
 */
export function credentialFiles({ files, helperPath, log = silent }: CredentialFilesOptions): CredentialStore {
  return {
    async lookup(registry, repository) {
      const found: Credentials[] = [];
      for (const file of files) {
        const warn = (problem: string): void => log.warn({ file, registry, problem }, "no credentials from a file");
        const config = await readConfig(file, warn);
        if (config === undefined) continue;
        const helper = helperFor(config, registry, repository);
        try {
          const asked = helper === undefined ? undefined : await askHelper(helper, registry, helperPath);
          if (asked !== undefined) found.push(asked);
        } catch (error) {
          warn(messageOf(error));
        }
        found.push(...entriesFor(config, registry, repository));
      }
      return found;
    },
  };
}

interface Config {
  readonly auths: Readonly<Record<string, unknown>>;
  readonly credHelpers: Readonly<Record<string, unknown>>;
  readonly credsStore: unknown;
}

async function readConfig(file: string, warn: (problem: string) => void): Promise<Config | undefined> {
  try {
    const json = record(JSON.parse(await readFile(file, "utf8")));
    return { auths: record(json["auths"]), credHelpers: record(json["credHelpers"]), credsStore: json["credsStore"] };
  } catch (error) {
    // JSON.parse quotes what it could not read, and this is a file of passwords.
    if (errnoOf(error) !== "ENOENT") warn(error instanceof SyntaxError ? "it is not JSON" : messageOf(error));
    return undefined;
  }
}

function helperFor({ credHelpers, credsStore }: Config, registry: string, repository: string): string | undefined {
  for (const name of scopesOf(registry, repository))
    for (const [key, helper] of Object.entries(credHelpers))
      if (hostKey(key) === name && typeof helper === "string") return helper;
  return typeof credsStore === "string" && credsStore !== "" ? credsStore : undefined;
}

function entriesFor({ auths }: Config, registry: string, repository: string): readonly Credentials[] {
  return scopesOf(registry, repository).flatMap((name) =>
    Object.entries(auths)
      .filter(([key]) => hostKey(key) === name)
      .flatMap(([, entry]) => readEntry(record(entry)) ?? []),
  );
}

/** `quay.io/a/b`, `quay.io/a`, `quay.io`. */
function scopesOf(registry: string, repository: string): readonly string[] {
  const parts = [registry, ...repository.split("/")];
  return parts.map((_, i) => parts.slice(0, parts.length - i).join("/"));
}

/** `https://index.docker.io/v1/` is `docker.io`, and `https://r.example/v2/` is `r.example`. */
function hostKey(key: string): string {
  const isUrl = /^https?:\/\//.test(key);
  const bare = key.replace(/^https?:\/\//, "").replace(/\/+$/, "");
  const name = isUrl || /\/v[12]$/.test(bare) ? bare.replace(/\/v[12]$/, "") : bare;
  return name.replace(/^(?:index|registry-1)\.docker\.io(?=\/|$)/, "docker.io");
}

function readEntry(entry: Readonly<Record<string, unknown>>): Credentials | undefined {
  const { auth, username, password, identitytoken, registrytoken } = entry;
  if (isText(identitytoken)) return { identityToken: identitytoken };
  if (isText(registrytoken)) return { registryToken: registrytoken };
  if (isText(auth)) {
    const text = Buffer.from(auth, "base64").toString("utf8").replace(/\0+$/, "");
    const colon = text.indexOf(":");
    if (colon > 0) return { username: text.slice(0, colon), password: text.slice(colon + 1) };
  }
  return isText(username) && isText(password) ? { username, password } : undefined;
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}
