import { Failure, type Log } from "#base";
import type { Descriptor } from "#oci";
import type { Capability } from "./endpoint.ts";
import type { EndpointClient } from "./endpoint-client.ts";

/** How long an endpoint that failed is asked only after the others. Milliseconds. */
const PENALTY = 30_000;

/**
 * The endpoints of one repository, in order. Each request goes to the first that may serve it and falls through to the
 * next where that one fails, so that a mirror which lacks one blob still serves the others.
 */
export class Session {
  readonly registry: string;
  readonly #clients: () => Promise<readonly EndpointClient[]>;
  readonly #log: Log;
  readonly #penalties = new Map<EndpointClient, number>();
  /** Bytes of each blob that an endpoint has sent. */
  readonly #sent = new Map<string, Map<EndpointClient, number>>();
  #loaded: Promise<readonly EndpointClient[]> | undefined;

  constructor(registry: string, clients: () => Promise<readonly EndpointClient[]>, log: Log) {
    this.registry = registry;
    this.#clients = clients;
    this.#log = log;
  }

  /**
   * Runs `attempt` at one endpoint after the other until one succeeds. What the last one says is the answer where none does:
   * it is the registry itself, and a mirror that has nothing proves nothing.
   *
   * Whoever has sent all of `blob` already is asked last: a blob that is wanted again was not what its digest says.
   */
  async first<T>(
    capability: Capability,
    kind: "digest" | "tag",
    attempt: (client: EndpointClient, isLast: boolean) => Promise<T>,
    signal: AbortSignal | undefined,
    blob?: Descriptor,
  ): Promise<T> {
    const able = (await this.#able()).filter(
      ({ endpoint }) =>
        endpoint.capabilities.has(capability) && (endpoint.serves === "all" || endpoint.serves === kind),
    );
    if (able.length === 0)
      throw new Failure(
        "FAILED_PRECONDITION",
        "NO_ENDPOINT",
        `no host is configured that may ${capability} for ${this.registry}: look at its hosts.toml`,
      );
    const last = able.at(-1);
    const now = Date.now();
    const isPenalized = (client: EndpointClient): boolean =>
      client !== last && (this.#penalties.get(client) ?? 0) > now;
    const hasSentAll = (client: EndpointClient): boolean =>
      blob !== undefined && (this.#sent.get(blob.digest)?.get(client) ?? 0) >= blob.size;
    const willing = able.filter((one) => !isPenalized(one));
    const order = [...willing.filter((one) => !hasSentAll(one)), ...willing.filter(hasSentAll)];
    for (const [i, client] of order.entries()) {
      const isLast = i === order.length - 1;
      try {
        return await attempt(client, isLast);
      } catch (error) {
        signal?.throwIfAborted();
        if (!(error instanceof Failure) || isLast) throw error;
        if (error.code === "UNAVAILABLE" || error.code === "RESOURCE_EXHAUSTED") this.blame(client);
        this.#log.info(
          { host: client.endpoint.host, registry: this.registry, error: error.message },
          "trying the next host",
        );
      }
    }
    throw new Error("unreachable: the last endpoint returns or throws");
  }

  /** An endpoint whose answers break off is passed over for a while, where there is another. */
  blame(client: EndpointClient): void {
    this.#penalties.set(client, Date.now() + PENALTY);
  }

  sent(client: EndpointClient, { digest }: Descriptor, bytes: number): void {
    const counts = this.#sent.get(digest) ?? new Map<EndpointClient, number>();
    this.#sent.set(digest, counts.set(client, (counts.get(client) ?? 0) + bytes));
  }

  /** Read once: one pull sees one configuration. */
  #able(): Promise<readonly EndpointClient[]> {
    const loading = (this.#loaded ??= this.#clients());
    loading.catch(() => (this.#loaded = undefined));
    return loading;
  }
}
