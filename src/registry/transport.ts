import { createSecureContext, getCACertificates, type SecureContext } from "node:tls";
import { Agent, ProxyAgent, type Dispatcher } from "undici";
import type { TlsProfile } from "./endpoint.ts";
import { proxyOf, type Proxies } from "./proxies.ts";

/** How long to wait for what, in milliseconds. */
export interface Timeouts {
  /** For the head of an answer. */
  readonly answer: number;
  /** For the registry to take in an upload, after its last byte. */
  readonly commit: number;
  /** Between two pieces of a body. */
  readonly stall: number;
}

export const TIMEOUTS: Timeouts = { answer: 30_000, commit: 300_000, stall: 30_000 };

/** What a connection depends on besides the host: two requests that agree on it may share one. */
export interface Line {
  readonly tls: TlsProfile;
  /** Milliseconds. */
  readonly dialTimeout: number;
  readonly proxy?: string | undefined;
}

export interface WireRequest {
  readonly method: Dispatcher.HttpMethod;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | AsyncIterable<Uint8Array>;
  readonly signal?: AbortSignal | undefined;
}

export type WireResponse = Dispatcher.ResponseData;

/** The connections of one registry client: kept alive, few per host. It follows no redirects and knows no passwords. */
export class Transport implements AsyncDisposable {
  readonly #agents = new Map<string, Dispatcher>();
  readonly #proxies: Proxies;
  readonly #timeouts: Timeouts;
  readonly #connections: number;

  constructor(options: { readonly proxies: Proxies; readonly timeouts: Timeouts; readonly connections: number }) {
    this.#proxies = options.proxies;
    this.#timeouts = options.timeouts;
    this.#connections = options.connections;
  }

  /** @throws what undici throws; the signal's reason when that ended it. */
  async send(request: WireRequest, line: Line): Promise<WireResponse> {
    const { url, method, body, signal } = request;
    signal?.throwIfAborted();
    const uploads = method === "PUT" || method === "PATCH";
    try {
      return await this.#agent(url, line).request({
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        method,
        headers: request.headers,
        // undici takes async iterables, though its types do not say so.
        ...(body === undefined ? {} : { body: body as Uint8Array }),
        signal: signal ?? null,
        headersTimeout: uploads ? this.#timeouts.commit : this.#timeouts.answer,
        bodyTimeout: this.#timeouts.stall,
        highWaterMark: 1024 * 1024,
      });
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#agents.values()].map((agent) => agent.destroy()));
    this.#agents.clear();
  }

  #agent(url: URL, line: Line): Dispatcher {
    const proxy = line.proxy ?? proxyOf(url, this.#proxies);
    const key = JSON.stringify([line.tls, line.dialTimeout, proxy]);
    const known = this.#agents.get(key);
    if (known !== undefined) return known;
    const made = this.#makeAgent(line, proxy);
    this.#agents.set(key, made);
    return made;
  }

  #makeAgent({ tls, dialTimeout }: Line, proxy: string | undefined): Dispatcher {
    const secure = { secureContext: secureContext(tls), rejectUnauthorized: !tls.skipVerify };
    const common = { connections: this.#connections, allowH2: false, keepAliveTimeout: 10_000 };
    if (proxy !== undefined) return new ProxyAgent({ ...common, uri: proxy, requestTls: secure, proxyTunnel: true });
    return new Agent({ ...common, connect: { ...secure, timeout: dialTimeout } });
  }
}

/** Once per line: reading some hundred certificates takes longer than a request. */
function secureContext(tls: TlsProfile): SecureContext {
  const ca = new Set([...getCACertificates("default"), ...getCACertificates("system"), ...tls.ca]);
  return createSecureContext({
    ca: [...ca],
    ...(tls.client.length === 0 ? {} : { cert: tls.client.map((c) => c.cert), key: tls.client.map((c) => c.key) }),
  });
}
