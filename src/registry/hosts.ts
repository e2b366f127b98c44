import type { Reference } from "#oci";
import { originEndpoint, type Endpoint } from "./endpoint.ts";
import { readHostsToml } from "./hosts-toml.ts";

/** Where the files are that say where to go. They are read anew for each pull. */
export interface HostsConfig {
  /** containerd's `certs.d`. */
  readonly certsDir?: string | undefined;
}

/** The endpoints for a reference, in the order in which to ask them. Never empty, unless the configuration says so. */
export async function endpointsFor(
  { registry, repository }: Reference,
  config: HostsConfig,
): Promise<readonly Endpoint[]> {
  const found = config.certsDir === undefined ? undefined : await readHostsToml(config.certsDir, registry, repository);
  return found ?? [originEndpoint(registry, repository)];
}
