import type { Credentials } from "#oci";

/** What the host itself knows of passwords. */
export interface CredentialStore {
  /** The credentials for a repository of a registry, the most specific first. `docker.io` is its own name here. */
  lookup(registry: string, repository: string): Promise<readonly Credentials[]>;
}

/** For hosts without credential files, and for tests. */
export const noCredentials: CredentialStore = { lookup: () => Promise.resolve([]) };
