import { Failure, type Log } from "#base";
import type { Authorizer } from "./authorizer.ts";
import { parseChallenges } from "./challenge.ts";
import { strangerTls, type Endpoint } from "./endpoint.ts";
import { isNotTls, isUnreachable, networkFailure, plainUrl } from "./network-failure.ts";
import { isPassing, pause, RETRY_AFTER_LIMIT, retryAfter, wait, type Patience } from "./patience.ts";
import type { Line, Transport, WireRequest } from "./transport.ts";
import type { WireResponse } from "./wire-response.ts";

const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const REDIRECT_LIMIT = 10;
/** Signed URLs hold for some minutes at least. Milliseconds. */
const SHORTCUT = 60_000;

export interface ApiRequest {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Below the endpoint's base (`/library/busybox/manifests/latest`), or whole (the Location of an upload). */
  readonly path: string | URL;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** Called anew for each attempt. */
  readonly body?: () => Uint8Array | AsyncIterable<Uint8Array>;
  readonly signal?: AbortSignal | undefined;
  /** Told for how many milliseconds it waits before it asks again. */
  readonly onWaiting?: ((milliseconds: number) => void) | undefined;
  /** A GET whose body is a blob. */
  readonly isBulk?: boolean;
}

export interface ApiResponse {
  /** Where the answer came from, after redirects. */
  readonly url: URL;
  readonly response: WireResponse;
}

export interface EndpointClientOptions {
  readonly endpoint: Endpoint;
  readonly transport: Transport;
  readonly authorizer: Authorizer;
  readonly patience: Patience;
  readonly userAgent: string;
  readonly log: Log;
}

/** Talks to one endpoint: authorization, redirects, waiting and asking again. The answer's status is the caller's matter. */
export class EndpointClient {
  readonly endpoint: Endpoint;
  readonly #options: EndpointClientOptions;
  #isPlain: boolean;
  /** Where a blob was last redirected to: its next part is asked for there directly. */
  readonly #shortcuts = new Map<string, { readonly url: URL; readonly until: number }>();
  /** It has answered before: then a refused connection is a restart that will pass. */
  #hasAnswered = false;

  constructor(options: EndpointClientOptions) {
    this.endpoint = options.endpoint;
    this.#options = options;
    this.#isPlain = options.endpoint.base.startsWith("http:");
  }

  get secrets(): readonly string[] {
    return this.#options.authorizer.secrets;
  }

  /** How many credentials were refused, where all were. */
  get refused(): number {
    return this.#options.authorizer.refused;
  }

  /**
   * Answers with any status that asking again will not change. `isLast` means that nobody else can be asked: only then is
   * it worth waiting for this one.
   *
   * @throws Failure UNAVAILABLE, TOO_MANY_REQUESTS, CERTIFICATE_INVALID, INSECURE_REDIRECT …; the signal's reason
   */
  send(request: ApiRequest, isLast = true): Promise<ApiResponse> {
    return this.ask(request, (answer) => Promise.resolve(answer), isLast);
  }

  /** One attempt, for requests whose repetition needs thought: uploads. @throws as `send` */
  async once(request: ApiRequest): Promise<ApiResponse> {
    return this.#authorized(request);
  }

  /** `send`, and the reading of the answer with it: where that breaks off (UNAVAILABLE), the request is made again. */
  async ask<T>(request: ApiRequest, read: (answer: ApiResponse) => Promise<T>, isLast = true): Promise<T> {
    const { patience, log } = this.#options;
    for (let attempt = 1; ; attempt++) {
      const isFinal = !isLast || attempt >= patience.attempts;
      let delay = pause(attempt, patience);
      try {
        const answer = await this.#authorized(request);
        this.#hasAnswered = true;
        const { statusCode, headers } = answer.response;
        const asked = retryAfter(headers["retry-after"]);
        const isAnswer = !isPassing(statusCode) || isFinal || (asked ?? 0) > RETRY_AFTER_LIMIT;
        if (isAnswer) return await read(answer);
        if (asked !== undefined) delay = asked + delay;
        await answer.response.body.dump();
        log.debug({ url: plainUrl(answer.url), status: statusCode, attempt, delay }, "asking the registry again");
      } catch (error) {
        request.signal?.throwIfAborted();
        const isPassingFault = error instanceof Failure && error.code === "UNAVAILABLE";
        if (isFinal || !isPassingFault || (isUnreachable(error.cause) && !this.#hasAnswered)) throw error;
        log.debug({ host: this.endpoint.host, error: error.message, attempt, delay }, "asking the registry again");
      }
      request.onWaiting?.(delay);
      await wait(delay, request.signal);
    }
  }

  async #authorized(request: ApiRequest): Promise<ApiResponse> {
    const { authorizer } = this.#options;
    const { signal } = request;
    for (;;) {
      const used = await authorizer.header(this.#isPlain, signal);
      const wasPlain = this.#url(request).protocol === "http:";
      const answer = await this.#redirected(request, used).catch((error: unknown) => {
        if (this.#url(request).protocol === "https:" || wasPlain) throw error;
      });
      if (answer === undefined) continue;
      const { statusCode, headers } = answer.response;
      const isOurs = answer.url.origin === this.#home;
      if (statusCode !== 401 && statusCode !== 403) {
        authorizer.accepted(used);
        return answer;
      }
      if (!isOurs) {
        // A signed URL that has run out: asking the registry again brings a new one.
        await answer.response.body.dump();
        const what = `${request.method} ${plainUrl(answer.url)}: ${statusCode}, after a redirect from ${this.endpoint.host}`;
        throw new Failure("UNAVAILABLE", "REDIRECT_REFUSED", what);
      }
      const challenges = parseChallenges(headers["www-authenticate"]);
      if (!(await authorizer.refusedWith(used, challenges, this.#isPlain, signal))) return answer;
      await answer.response.body.dump();
    }
  }

  async #redirected(request: ApiRequest, authorization: string | undefined): Promise<ApiResponse> {
    const first = this.#url(request);
    const shortcut = this.#shortcuts.get(first.href);
    let url = shortcut === undefined || shortcut.until < Date.now() ? first : shortcut.url;
    for (let hop = 0; hop <= REDIRECT_LIMIT; hop++) {
      const isHome = url.origin === this.#home;
      const response = await this.#exchange(request, url, isHome ? authorization : undefined, isHome);
      if (url === shortcut?.url && response.statusCode >= 300) {
        this.#shortcuts.delete(first.href);
        await response.body.dump();
        url = first;
        continue;
      }
      const location = response.headers["location"];
      if (!REDIRECTS.has(response.statusCode) || typeof location !== "string") {
        const isAway = request.isBulk === true && !isHome && url !== shortcut?.url && response.statusCode < 300;
        if (isAway) this.#shortcuts.set(first.href, { url, until: Date.now() + SHORTCUT });
        return { url, response };
      }
      await response.body.dump();
      url = this.#target(location, url);
    }
    const message = `${plainUrl(first)}: more than ${REDIRECT_LIMIT} redirects`;
    throw new Failure("FAILED_PRECONDITION", "TOO_MANY_REDIRECTS", message);
  }

  /** A registry behind a proxy that ends TLS often names itself with http: then TLS stays. Another host without TLS is refused. */
  #target(location: string, from: URL): URL {
    if (!URL.canParse(location, from.href))
      throw new Failure("UNAVAILABLE", "INVALID_REDIRECT", `${plainUrl(from)}: it redirects to what is no URL`);
    const url = new URL(location, from);
    if (url.protocol === from.protocol || (from.protocol === "http:" && url.protocol === "https:")) return url;
    if (url.protocol === "http:" && url.hostname === from.hostname) {
      url.protocol = "https:";
      if (url.port === "80") url.port = "";
      return url;
    }
    throw new Failure(
      "FAILED_PRECONDITION",
      "INSECURE_REDIRECT",
      `${plainUrl(from)} redirects to ${plainUrl(url)}, which has no TLS`,
    );
  }

  async #exchange(
    request: ApiRequest,
    url: URL,
    authorization: string | undefined,
    isHome: boolean,
  ): Promise<WireResponse> {
    const { endpoint } = this;
    const wire: WireRequest = {
      method: request.method,
      url,
      headers: {
        "user-agent": this.#options.userAgent,
        "accept-encoding": "identity",
        ...(isHome ? endpoint.headers : {}),
        ...request.headers,
        ...(authorization === undefined ? {} : { authorization }),
      },
      ...(request.body === undefined ? {} : { body: request.body() }),
      signal: request.signal,
      isBulk: request.isBulk === true,
    };
    try {
      return await this.#options.transport.send(wire, this.#line(isHome));
    } catch (error) {
      request.signal?.throwIfAborted();
      if (isHome && url.protocol === "https:" && endpoint.mayFallBackToHttp && isNotTls(error)) this.#isPlain = true;
      this.#shortcuts.clear();
      throw networkFailure(request.method, url, error);
    }
  }

  /** Where a redirect leads elsewhere, our certificates stay at home, and so does the leave not to look at its. */
  #line(isHome: boolean): Line {
    const { tls, dialTimeout, proxy } = this.endpoint;
    return { tls: isHome ? tls : strangerTls(tls), dialTimeout, proxy };
  }

  /** The origin that credentials, headers and certificates are for. */
  get #home(): string {
    return this.#url({ method: "GET", path: "" }).origin;
  }

  #url({ path, query }: ApiRequest): URL {
    const { base, namespace } = this.endpoint;
    const url =
      path instanceof URL
        ? new URL(path)
        : new URL(`${this.#isPlain ? base.replace(/^https:/, "http:") : base}${path}`);
    for (const [name, value] of Object.entries(query ?? {})) url.searchParams.set(name, value);
    if (namespace !== undefined && !(path instanceof URL)) url.searchParams.set("ns", namespace);
    return url;
  }
}
