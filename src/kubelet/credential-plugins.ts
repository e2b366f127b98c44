import { spawn } from "node:child_process";
import { Failure, type Log, messageOf } from "#base";
import type { Reference } from "#oci";
import { type CredentialProvider, readCredentialProviders } from "./credential-provider-config.ts";
import { milliseconds } from "./go-duration.ts";
import { globMatchesReference, type KeyringEntry } from "./keyring.ts";

interface Response {
  readonly kind?: string;
  readonly apiVersion?: string;
  readonly cacheKeyType?: string;
  /** A Go duration; 0: not to be kept. */
  readonly cacheDuration?: string | null;
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
 * that fails is logged; the pull goes on with the other logins. Pulls of one repository at a time ask once.
 *
 * https://kubernetes.io/docs/tasks/administer-cluster/kubelet-credential-provider/
 *
 * @throws Failure BAD_CREDENTIAL_PROVIDER
 */
export async function openCredentialPlugins(
  options: CredentialPluginOptions,
): Promise<(reference: Reference) => Promise<readonly KeyringEntry[]>> {
  const { configFile, binDir, log, now } = options;
  const providers = await readCredentialProviders(configFile, binDir);
  const answers = new Map<string, { readonly entries: readonly KeyringEntry[]; readonly until: number }>();
  const asking = new Map<string, Promise<Response>>();

  const once = (provider: CredentialProvider, image: string): Promise<Response> => {
    const key = `${provider.name}\0${image}`;
    const running = asking.get(key) ?? run(provider, image).finally(() => asking.delete(key));
    asking.set(key, running);
    return running;
  };

  const ask = async (provider: CredentialProvider, { registry, repository }: Reference) => {
    // A plugin gives logins for a repository: it is not told which tag.
    const image = `${registry}/${repository}`;
    for (const key of [image, registry, ""]) {
      const known = answers.get(`${provider.name}\0${key}`);
      if (known && now() <= known.until) return known.entries;
    }
    const { auth = {}, cacheKeyType = "", cacheDuration } = await once(provider, image);
    const key = new Map([
      ["Image", image],
      ["Registry", registry],
      ["Global", ""],
    ]).get(cacheKeyType);
    if (key === undefined)
      throw refuse(provider, `did not return a valid cacheKeyType: ${JSON.stringify(cacheKeyType)}`);
    const entries = Object.entries(auth).map(([pattern, { username = "", password = "" }]): KeyringEntry => ({
      pattern,
      auth: { username, password },
    }));
    const lasts = cacheDuration ? milliseconds(cacheDuration) : provider.defaultCacheMs;
    if (lasts > 0) answers.set(`${provider.name}\0${key}`, { entries, until: now() + lasts });
    return entries;
  };

  return async (reference) => {
    const found: KeyringEntry[] = [];
    for (const provider of providers) {
      if (!provider.matchImages.some((pattern) => globMatchesReference(pattern, reference))) continue;
      try {
        found.push(...(await ask(provider, reference)));
      } catch (error) {
        log.warn({ plugin: provider.name, error: messageOf(error) }, "credential plugin failed");
      }
    }
    return found;
  };
}

const refuse = ({ program }: CredentialProvider, why: string): Failure =>
  new Failure("UNAVAILABLE", "CREDENTIAL_PLUGIN", `${program} ${why}`);

async function run(provider: CredentialProvider, image: string): Promise<Response> {
  const { apiVersion, program, args, env } = provider;
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
  if (code !== 0) throw refuse(provider, code === null ? "was killed" : `ended with exit code ${code}`);
  let response: Response;
  try {
    response = JSON.parse(output) as Response;
  } catch {
    // Its words may hold a password.
    throw refuse(provider, "did not answer with JSON");
  }
  if (response.kind !== "CredentialProviderResponse" || response.apiVersion !== apiVersion)
    throw refuse(provider, `did not answer with a CredentialProviderResponse of ${apiVersion}`);
  return response;
}
