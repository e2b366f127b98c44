import { createSecureContext, type SecureContext } from "node:tls";
import type { Dispatcher } from "undici";
import { Failure } from "#base";
import { BulkPool } from "./bulk-pool.ts";
import type { TlsProfile } from "./endpoint.ts";
import { proxyOf, type Proxies } from "./proxies.ts";
import { systemAuthorities } from "./system-authorities.ts";
import type { WireResponse } from "./wire-response.ts";

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
  /** A GET whose body is a blob: it is read over connections made for many bytes. */
  readonly isBulk?: boolean;
}

/** The connections of one registry client: kept alive, few per host. It follows no redirects and knows no passwords. */
export class Transport implements AsyncDisposable {
  readonly #agents = new Map<string, Promise<Dispatcher>>();
  readonly #contexts = new Map<string, SecureContext>();
  readonly #bulk: BulkPool;
  /** Ends connections that are being opened: undici does not give them up by itself. */
  readonly #closing = new AbortController();
  /** Hosts whose bodies have no Content-Length. */
  readonly #notForBulk = new Set<string>();
  readonly #proxies: Proxies;
  readonly #timeouts: Timeouts;
  readonly #connections: number;

  constructor(options: { readonly proxies: Proxies; readonly timeouts: Timeouts; readonly connections: number }) {
    this.#proxies = options.proxies;
    this.#timeouts = options.timeouts;
    this.#connections = options.connections;
    this.#bulk = new BulkPool(options.connections, this.#closing.signal);
  }

  /** @throws what undici throws; the signal's reason when that ended it; Failure CANCELLED after disposal. */
  async send(request: WireRequest, line: Line): Promise<WireResponse> {
    request.signal?.throwIfAborted();
    this.#closing.signal.throwIfAborted();
    try {
      return await this.#send(request, line);
    } catch (error) {
      request.signal?.throwIfAborted();
      this.#closing.signal.throwIfAborted();
      throw error;
    }
  }

  async #send(request: WireRequest, line: Line): Promise<WireResponse> {
    const bulk = request.isBulk === true ? await this.#sendBulk(request, line) : undefined;
    if (bulk !== undefined) return bulk;
    const response = await this.#sendStream(request, line);
    const isUnmeasured = response.headers["content-length"] === undefined && response.statusCode < 300;
    if (request.isBulk === true && isUnmeasured) this.#notForBulk.add(request.url.origin);
    return response;
  }

  async #sendStream(request: WireRequest, line: Line): Promise<WireResponse> {
    const { url, method, body, signal } = request;
    const uploads = method === "PUT" || method === "PATCH";
    const agent = await this.#agent(url, line);
    const asked = agent.request({
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
    // A stream that is destroyed says so as an error, which nobody waits for.
    const drop = ({ body: stream }: Dispatcher.ResponseData): unknown => stream.on("error", () => undefined).destroy();
    const answer = await unlessAborted(asked, signal, drop);
    const stream = answer.body;
    return {
      statusCode: answer.statusCode,
      headers: answer.headers,
      body: {
        [Symbol.asyncIterator]: () => stream[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>,
        dump: () => stream.dump(),
        destroy: () => drop(answer),
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new Failure("CANCELLED", "CANCELLED", "the registry client was closed"));
    this.#bulk.destroy();
    await Promise.all([...this.#agents.values()].map(async (agent) => (await agent).destroy()));
    this.#agents.clear();
  }

  /** Undefined where undici has to do it: behind a proxy, and for bodies whose length is not announced. */
  async #sendBulk({ url, headers, signal }: WireRequest, line: Line): Promise<WireResponse | undefined> {
    if (this.#proxyFor(url, line) !== undefined || this.#notForBulk.has(url.origin)) return undefined;
    const isSecure = url.protocol === "https:";
    const tls = isSecure
      ? { secureContext: this.#context(line.tls), rejectUnauthorized: !line.tls.skipVerify }
      : undefined;
    const lane = isSecure ? `${url.origin} ${JSON.stringify([line.tls, line.dialTimeout])}` : url.origin;
    const target = { url, tls, dialTimeout: line.dialTimeout };
    const response = await this.#bulk.get(lane, target, { url, headers, signal, timeouts: this.#timeouts });
    return response;
  }

  #proxyFor(url: URL, line: Line): string | undefined {
    return line.proxy ?? proxyOf(url, this.#proxies);
  }

  #agent(url: URL, line: Line): Promise<Dispatcher> {
    const proxy = this.#proxyFor(url, line);
    const isSecure = url.protocol === "https:";
    const key = JSON.stringify([line.tls, line.dialTimeout, proxy, isSecure]);
    const known = this.#agents.get(key);
    if (known !== undefined) return known;
    const made = this.#makeAgent(line, proxy, isSecure);
    this.#agents.set(key, made);
    return made;
  }

  async #makeAgent({ tls, dialTimeout }: Line, proxy: string | undefined, isSecure: boolean): Promise<Dispatcher> {
    // It takes longer to load than most commands take, and most of them talk to no registry.
    const { Agent, ProxyAgent } = await import("undici");
    // Handed on to `net.connect` and `tls.connect`, which undici's types do not know.
    const { signal } = this.#closing;
    const secure = { secureContext: this.#context(tls), rejectUnauthorized: !tls.skipVerify, signal };
    // HTTP/2 brings nothing for as many requests as there are connections: 2,000 blobs of 4 KiB that are 50 ms away take 6.6 s
    // over one connection of it and 6.7 s over 16 of HTTP/1.1. It would for 100 at once (1.1 s), more than are ever asked for.
    const common = { connections: this.#connections, allowH2: false, keepAliveTimeout: 10_000 };
    // Many proxies give tunnels for TLS only; plain requests they pass on.
    const toProxy: object = { signal };
    const tunnel = { proxyTunnel: isSecure, proxyTls: toProxy, requestTls: secure, connectTimeout: dialTimeout };
    if (proxy !== undefined) return new ProxyAgent({ ...common, ...tunnel, uri: proxy });
    return new Agent({ ...common, connect: { ...secure, timeout: dialTimeout } });
  }

  /** Made once: reading some hundred certificates takes longer than a request. */
  #context(tls: TlsProfile): SecureContext {
    const key = JSON.stringify(tls);
    const known = this.#contexts.get(key);
    if (known !== undefined) return known;
    const made = createSecureContext({
      // Who is not verified needs no authorities.
      ca: tls.skipVerify ? [] : [...systemAuthorities(), ...tls.ca],
      ...(tls.client.length === 0 ? {} : { cert: tls.client.map((c) => c.cert), key: tls.client.map((c) => c.key) }),
    });
    this.#contexts.set(key, made);
    return made;
  }
}

/** undici hears of an abort only once it is connected. What comes of it after that is thrown away. */
async function unlessAborted<T>(
  promise: Promise<T>,
  signal: AbortSignal | undefined,
  drop: (late: T) => unknown,
): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = (): void => {
    promise.then(drop, () => undefined);
    reject(signal?.reason as Error);
  };
  signal?.addEventListener("abort", abort, { once: true });
  if (signal?.aborted === true) abort();
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}
