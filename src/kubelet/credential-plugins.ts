import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Failure, type Log, messageOf } from "#base";
import { parseYaml } from "#k8s";
import { formatReference, type Reference } from "#oci";
import { globMatchesReference, type KeyringEntry } from "./keyring.ts";

interface Provider {
  readonly name: string;
  readonly matchImages?: readonly string[];
  /** A Go duration. */
  readonly defaultCacheDuration?: string;
  readonly apiVersion: string;
  readonly args?: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value: string }[];
}

interface Response {
  readonly cacheKeyType?: "Image" | "Registry" | "Global";
  readonly cacheDuration?: string;
  readonly auth?: { readonly [pattern: string]: { readonly username?: string; readonly password?: string } };
}

export interface CredentialPluginOptions {
  /** A `CredentialProviderConfig`, YAML or JSON. */
  readonly configFile: string;
  /** Where the plugins' programs are. */
  readonly binDir: string;
  readonly log: Log;
  readonly now: () => number;
}

const TIMEOUT_MS = 60_000;

/**
 * Asks the node's credential provider plugins for the logins of one reference, and remembers their answers as they say. A plugin
 * that fails is logged; the pull goes on with the other logins.
 *
 * https://kubernetes.io/docs/tasks/administer-cluster/kubelet-credential-provider/
 */
export async function openCredentialPlugins(
  options: CredentialPluginOptions,
): Promise<(reference: Reference) => Promise<readonly KeyringEntry[]>> {
  const { configFile, binDir, log, now } = options;
  const config = parseYaml(await readFile(configFile, "utf8")) as
    { readonly providers?: readonly Provider[] } | undefined;
  const answers = new Map<string, { readonly entries: readonly KeyringEntry[]; readonly until: number }>();

  const ask = async (provider: Provider, reference: Reference): Promise<readonly KeyringEntry[]> => {
    const image = formatReference(reference);
    for (const key of [image, reference.registry, ""]) {
      const known = answers.get(`${provider.name}\0${key}`);
      if (known && now() < known.until) return known.entries;
    }
    const response = await run(join(binDir, provider.name), provider, image);
    const entries = Object.entries(response.auth ?? {}).map(
      ([pattern, { username = "", password = "" }]): KeyringEntry => ({ pattern, auth: { username, password } }),
    );
    const lasts = milliseconds(response.cacheDuration ?? provider.defaultCacheDuration ?? "0s");
    const key = { Image: image, Registry: reference.registry, Global: "" }[response.cacheKeyType ?? "Image"];
    if (lasts > 0) answers.set(`${provider.name}\0${key}`, { entries, until: now() + lasts });
    return entries;
  };

  return async (reference) => {
    const found: KeyringEntry[] = [];
    for (const provider of config?.providers ?? []) {
      if (!provider.matchImages?.some((pattern) => globMatchesReference(pattern, reference))) continue;
      try {
        found.push(...(await ask(provider, reference)));
      } catch (error) {
        log.warn({ plugin: provider.name, error: messageOf(error) }, "credential plugin failed");
      }
    }
    return found;
  };
}

async function run(program: string, provider: Provider, image: string): Promise<Response> {
  const { apiVersion, args = [], env = [] } = provider;
  const child = spawn(program, [...args], {
    // What a plugin needs of the environment it is told, beside the way to other programs.
    env: {
      PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      ...Object.fromEntries(env.map(({ name, value }) => [name, value])),
    },
    stdio: ["pipe", "pipe", "ignore"],
    timeout: TIMEOUT_MS,
  });
  // A plugin that does not read its input is told nothing by an error here.
  child.stdin.on("error", () => {});
  child.stdin.end(JSON.stringify({ apiVersion, kind: "CredentialProviderRequest", image }));
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  const refuse = (why: string): Failure => new Failure("UNAVAILABLE", "CREDENTIAL_PLUGIN", `${program} ${why}`);
  if (code !== 0) throw refuse(code === null ? "was killed" : `ended with exit code ${code}`);
  let response: Response & { readonly kind?: string; readonly apiVersion?: string };
  try {
    response = JSON.parse(output) as typeof response;
  } catch {
    // Its words may hold a password.
    throw refuse("did not answer with JSON");
  }
  if (response.kind !== "CredentialProviderResponse" || response.apiVersion !== apiVersion)
    throw refuse(`did not answer with a CredentialProviderResponse of ${apiVersion}`);
  return response;
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Reads a Go duration. */
function milliseconds(duration: string): number {
  let sum = 0;
  for (const [, number, unit] of duration.matchAll(/([0-9.]+)(ms|s|m|h)/g))
    sum += Number(number) * (UNITS[unit ?? ""] ?? 0);
  return sum;
}
