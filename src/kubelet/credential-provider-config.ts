import { constants } from "node:fs";
import { access, readFile } from "node:fs/promises";
import { join } from "node:path";
import { Failure, messageOf } from "#base";
import { parseYaml } from "#k8s";
import { milliseconds } from "./go-duration.ts";

/** One plugin of a `CredentialProviderConfig`. */
export interface CredentialProvider {
  readonly name: string;
  readonly program: string;
  readonly matchImages: readonly string[];
  readonly defaultCacheMs: number;
  readonly apiVersion: string;
  readonly args: readonly string[];
  readonly env: readonly { readonly name: string; readonly value: string }[];
}

interface Written {
  readonly name?: string;
  readonly matchImages?: readonly string[];
  /** A Go duration. */
  readonly defaultCacheDuration?: string;
  readonly apiVersion?: string;
  readonly args?: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value: string }[];
  readonly tokenAttributes?: unknown;
}

const VERSIONS = ["v1", "v1alpha1", "v1beta1"].map((version) => `credentialprovider.kubelet.k8s.io/${version}`);

/**
 * Reads which plugins there are, YAML or JSON. `binDir`: where their programs are.
 *
 * @throws Failure BAD_CREDENTIAL_PROVIDER that names the field, or the program that is not there
 */
export async function readCredentialProviders(configFile: string, binDir: string): Promise<CredentialProvider[]> {
  const refuse = (field: string, why: string): Failure =>
    new Failure("INVALID_ARGUMENT", "BAD_CREDENTIAL_PROVIDER", `${configFile}: ${field}: ${why}`);
  const text = await readFile(configFile, "utf8").catch((error: unknown) => {
    const why = `the credential provider configuration cannot be read: ${messageOf(error)}`;
    throw new Failure("INVALID_ARGUMENT", "BAD_CREDENTIAL_PROVIDER", why);
  });
  const config = parseYaml(text) as { readonly providers?: readonly Written[] } | undefined;
  if (!config?.providers?.length) throw refuse("providers", "Required value: at least 1 item in plugins is required");

  const found: CredentialProvider[] = [];
  for (const provider of config.providers) {
    const { name = "", matchImages = [], defaultCacheDuration, apiVersion = "", args = [], env = [] } = provider;
    if (name === "" || /[/ ]|^\.\.?$/.test(name))
      throw refuse("providers.name", `Invalid value: ${JSON.stringify(name)}`);
    if (found.some((other) => other.name === name))
      throw refuse("providers.name", `Duplicate value: ${JSON.stringify(name)}`);
    if (!VERSIONS.includes(apiVersion))
      throw refuse("providers.apiVersion", `Unsupported value: ${JSON.stringify(apiVersion)}`);
    if (matchImages.length === 0)
      throw refuse("providers.matchImages", "Required value: at least 1 item in matchImages is required");
    if (defaultCacheDuration === undefined) throw refuse("providers.defaultCacheDuration", "Required value");
    if (provider.tokenAttributes) throw refuse("providers.tokenAttributes", "is not supported");
    const program = join(binDir, name);
    await access(program, constants.X_OK).catch(() => {
      throw refuse("providers.name", `plugin binary executable ${program} did not exist`);
    });
    found.push({
      name,
      program,
      matchImages,
      apiVersion,
      args,
      env,
      defaultCacheMs: milliseconds(defaultCacheDuration),
    });
  }
  return found;
}
