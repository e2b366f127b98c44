/** What a registry host may be asked for. A host that may not `resolve` never says which digest a tag is. */
export type Capability = "pull" | "resolve" | "push";

/** How a host proves itself, and how we prove ourselves to it. The certificates are PEM text. */
export interface TlsProfile {
  /** Trusted besides the system's authorities. */
  readonly ca: readonly string[];
  readonly client: readonly { readonly cert: string; readonly key: string }[];
  readonly skipVerify: boolean;
}

export const PLAIN_TRUST: TlsProfile = { ca: [], client: [], skipVerify: false };

/** For hosts that a configured one sends us to: its authorities may vouch for them, and no more. */
export function strangerTls(tls: TlsProfile): TlsProfile {
  return { ...tls, client: [], skipVerify: false };
}

/** One place where a repository may be read from or written to. */
export interface Endpoint {
  /** Root of the distribution API, without a slash at its end: `https://registry-1.docker.io/v2`. */
  readonly base: string;
  /** Host and port as errors name them: `registry-1.docker.io`, `127.0.0.1:5000`. */
  readonly host: string;
  /** The repository's name there. */
  readonly repository: string;
  /** True for the registry that the reference names; false for a mirror of it. */
  readonly isOrigin: boolean;
  readonly capabilities: ReadonlySet<Capability>;
  /** Which references may be asked here: registries.conf, `pull-from-mirror`. */
  readonly serves: "all" | "digest" | "tag";
  /** Sent as `?ns=`, for mirrors that stand in for several registries. */
  readonly namespace?: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: TlsProfile;
  /** Milliseconds to wait for a connection. */
  readonly dialTimeout: number;
  /** Overrules the proxies of the options. */
  readonly proxy?: string;
  /** Whether to speak plain HTTP to a server that turns out not to speak TLS. Loopback only. */
  readonly mayFallBackToHttp: boolean;
}

export const ALL_CAPABILITIES: ReadonlySet<Capability> = new Set(["pull", "resolve", "push"]);

/** What containerd waits for a connection. Milliseconds. */
export const DIAL_TIMEOUT = 30_000;

/** `127.0.0.1:5000`, `localhost`, `[::1]:5000`: bytes to it never leave the machine. */
export function isLoopback(host: string): boolean {
  const name = host.replace(/:\d+$/, "");
  return name === "localhost" || name === "[::1]" || /^127(?:\.\d{1,3}){3}$/.test(name);
}

/** Where a registry's API is when nobody says otherwise. `docker.io` is a name; the API is at registry-1.docker.io. */
export function apiHost(registry: string): string {
  return registry === "docker.io" ? "registry-1.docker.io" : registry;
}

/**
 * The registry itself, over TLS. On loopback, as in containerd and docker, the certificate is not checked and a server
 * that does not speak TLS is spoken to in plain HTTP: there is no network between us that could be listened to.
 */
export function originEndpoint(registry: string, repository: string, tls: TlsProfile = PLAIN_TRUST): Endpoint {
  const host = apiHost(registry);
  const local = isLoopback(host);
  return {
    base: `https://${host}/v2`,
    host,
    repository,
    isOrigin: true,
    capabilities: ALL_CAPABILITIES,
    serves: "all",
    headers: {},
    tls: local && tls.ca.length === 0 ? { ...tls, skipVerify: true } : tls,
    dialTimeout: DIAL_TIMEOUT,
    mayFallBackToHttp: local,
  };
}
