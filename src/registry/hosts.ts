import type { Reference } from "#oci";
import { originEndpoint, type Endpoint } from "./endpoint.ts";
import { readHostsToml } from "./hosts-toml.ts";
import { readRegistriesConf } from "./registries-conf.ts";

/** Where the files are that say where to go. They are read anew for each pull, and may be missing. */
export interface HostsConfig {
  /** containerd's `certs.d`. What it says about a registry is the whole truth about it. */
  readonly certsDir?: string | undefined;
  /** podman's and CRI-O's `registries.conf`, with its drop-ins in `registries.conf.d` beside it. */
  readonly registriesConf?: string | undefined;
}

/** The endpoints for a reference, in the order in which to ask them. Never empty. */
export async function endpointsFor(reference: Reference, config: HostsConfig): Promise<readonly Endpoint[]> {
  const { registry, repository } = reference;
  const { certsDir, registriesConf } = config;
  const fromCerts = certsDir === undefined ? undefined : await readHostsToml(certsDir, registry, repository);
  if (fromCerts !== undefined) return fromCerts;
  const fromConf = registriesConf === undefined ? undefined : await readRegistriesConf(registriesConf, reference);
  return fromConf ?? [originEndpoint(registry, repository)];
}
