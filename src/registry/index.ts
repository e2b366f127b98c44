/** registry: Source and Destination over the distribution API: endpoints, credentials, patience. */
export {
  credentialFiles,
  noCredentials,
  type CredentialFilesOptions,
  type CredentialStore,
} from "./credential-store.ts";
export type { HostsConfig } from "./hosts.ts";
export type { DestinationOptions } from "./http-destination.ts";
export type { Patience } from "./patience.ts";
export type { Proxies } from "./proxies.ts";
export { createRegistry, type Registry, type RegistryOptions } from "./registry.ts";
export type { Timeouts } from "./transport.ts";
