import { silent, type Log } from "#base";
import type { Credentials, Destination, Reference, Source } from "#oci";
import { Authorizer } from "./authorizer.ts";
import type { CredentialStore } from "./credential-store.ts";
import { isLoopback, strangerTls, type Endpoint } from "./endpoint.ts";
import { EndpointClient } from "./endpoint-client.ts";
import { endpointsFor, type HostsConfig } from "./hosts.ts";
import { HttpDestination, type DestinationOptions } from "./http-destination.ts";
import { HttpSource } from "./http-source.ts";
import { networkFailure } from "./network-failure.ts";
import { PATIENCE, type Patience } from "./patience.ts";
import type { Proxies } from "./proxies.ts";
import { Session } from "./session.ts";
import { TIMEOUTS, Transport, type Timeouts } from "./transport.ts";

export interface RegistryOptions {
  readonly hosts: HostsConfig;
  readonly credentials: CredentialStore;
  /** `orlop/0.1.0` */
  readonly userAgent: string;
  readonly log?: Log;
  readonly proxies?: Proxies;
  /** Most connections to one host. */
  readonly connections?: number;
  readonly timeouts?: Partial<Timeouts>;
  readonly patience?: Partial<Patience>;
}

/** Every registry there is. Disposal closes the connections and ends the requests under way. */
export interface Registry extends AsyncDisposable {
  /**
   * The repository of a reference, for one pull: where to ask is read from the configuration once, at the first request.
   *
   * Credentials given are tried in order, then what the credential files say for the host, then nobody. Those given belong
   * to the registry that the reference names: a mirror gets them too, as in containerd, but never without TLS (save on loopback).
   */
  source(reference: Reference, credentials?: readonly Credentials[]): Source;
  destination(reference: Reference, credentials?: readonly Credentials[], options?: DestinationOptions): Destination;
}

/** More than this helps nobody, and registries begin to refuse. */
const CONNECTIONS = 16;

export function createRegistry(options: RegistryOptions): Registry {
  return new HttpRegistry(options);
}

class HttpRegistry implements Registry {
  readonly #options: RegistryOptions;
  readonly #transport: Transport;

  constructor(options: RegistryOptions) {
    this.#options = options;
    this.#transport = new Transport({
      proxies: options.proxies ?? {},
      timeouts: { ...TIMEOUTS, ...options.timeouts },
      connections: options.connections ?? CONNECTIONS,
    });
  }

  source(reference: Reference, credentials: readonly Credentials[] = []): Source {
    return new HttpSource(this.#session(reference, credentials, (repository) => [`repository:${repository}:pull`]));
  }

  destination(
    reference: Reference,
    credentials: readonly Credentials[] = [],
    options: DestinationOptions = {},
  ): Destination {
    const from = (options.mountFrom ?? []).map((repository) => `repository:${repository}:pull`);
    const session = this.#session(reference, credentials, (repository) => [
      `repository:${repository}:pull,push`,
      ...from,
    ]);
    return new HttpDestination(session, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#transport[Symbol.asyncDispose]();
  }

  #session(
    reference: Reference,
    given: readonly Credentials[],
    scopes: (repository: string) => readonly string[],
  ): Session {
    const log = this.#options.log ?? silent;
    const clients = async (): Promise<readonly EndpointClient[]> =>
      (await endpointsFor(reference, this.#options.hosts)).map((endpoint) =>
        this.#client(endpoint, reference, given, scopes(endpoint.repository), log),
      );
    return new Session(reference.registry, clients, log);
  }

  #client(
    endpoint: Endpoint,
    reference: Reference,
    given: readonly Credentials[],
    scopes: readonly string[],
    log: Log,
  ): EndpointClient {
    const { userAgent, credentials } = this.#options;
    const isPrivate = endpoint.base.startsWith("https:") || isLoopback(endpoint.host);
    const host = endpoint.isOrigin ? reference.registry : endpoint.host;
    const authorizer = new Authorizer({
      candidates: async () => [
        ...(endpoint.isOrigin || isPrivate ? given : []),
        ...(await credentials.lookup(host, endpoint.repository)),
      ],
      scopes,
      userAgent,
      send: async (request) => {
        // A token server elsewhere is verified, and sees no certificate of ours, whatever was said of the registry.
        const isHome = request.url.hostname === new URL(endpoint.base).hostname;
        const tls = isHome ? endpoint.tls : strangerTls(endpoint.tls);
        const { dialTimeout, proxy } = endpoint;
        try {
          return await this.#transport.send(request, { tls, dialTimeout, proxy });
        } catch (error) {
          request.signal?.throwIfAborted();
          throw networkFailure(request.method, request.url, error);
        }
      },
    });
    const patience = { ...PATIENCE, ...this.#options.patience };
    return new EndpointClient({ endpoint, transport: this.#transport, authorizer, patience, userAgent, log });
  }
}
