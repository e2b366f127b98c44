import {
  connect,
  constants,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import { connect as connectSocket } from "node:net";
import { Failure, messageOf } from "#base";
import { readMessages, statusTrailers } from "./grpc-frame.ts";

type Headers = IncomingHttpHeaders;

/** Above it Node refuses new streams. Messages of 16 MiB wait here for a slow reader; Node's own limit is 10. MB. */
export const MEMORY = { maxSessionMemory: 256 };

/** The HTTP/2 connection to the server behind a proxy: opened when first used, and again after it broke. */
export class Upstream {
  readonly #path: string;
  readonly #name: string;
  #session: Promise<ClientHttp2Session> | undefined;
  #last: ClientHttp2Session | undefined;

  constructor(path: string, name: string) {
    this.#path = path;
    this.#name = name;
  }

  /** @throws Failure UNAVAILABLE while nobody answers on the socket. */
  async open(headers: Headers): Promise<ClientHttp2Stream> {
    this.#session ??= this.#connect();
    const session = await this.#session;
    // The authority is the socket's matter, and the caller's may be a path, which no server takes.
    const { host: _, ...rest } = headers;
    try {
      return session.request({ ...rest, ":authority": "localhost" }, { endStream: false });
    } catch (error) {
      throw this.unavailable(error);
    }
  }

  /** One request, and the whole answer. */
  async call(headers: Headers, body: Buffer, signal: AbortSignal): Promise<{ bytes: Buffer; trailers: Headers }> {
    signal.throwIfAborted();
    const stream = await this.open(headers);
    const abort = (): void => stream.close(constants.NGHTTP2_CANCEL);
    signal.addEventListener("abort", abort, { once: true });
    if (signal.aborted) abort();
    try {
      let response: Headers = {};
      let trailers: Headers | undefined;
      stream.once("response", (headers) => (response = headers));
      stream.once("trailers", (headers) => (trailers = headers));
      stream.end(body);
      const { bytes } = await readMessages(stream, () => header(response, "grpc-encoding"));
      signal.throwIfAborted();
      return { bytes, trailers: trailers ?? this.#statusOf(response) };
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw error instanceof Failure ? error : this.unavailable(error);
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  /** Of an answer without trailers: its only headers are them, or it broke off, or it is no gRPC. */
  #statusOf(response: Headers): Headers {
    if (response["grpc-status"] !== undefined) return response;
    const http = header(response, ":status");
    if (http === undefined || http === "200")
      return statusTrailers("UNAVAILABLE", this.unavailable("the answer broke off").message);
    return statusTrailers("UNKNOWN", `${this.#name} answered HTTP ${http} instead of gRPC`);
  }

  unavailable(cause: unknown): Failure {
    const message = `${this.#name} does not answer on ${this.#path}: ${messageOf(cause)}`;
    return new Failure("UNAVAILABLE", "RUNTIME_UNAVAILABLE", message, { cause });
  }

  #connect(): Promise<ClientHttp2Session> {
    const opening = Promise.withResolvers<ClientHttp2Session>();
    // A later one may have taken its place by then.
    const forget = (): void => {
      if (this.#session === opening.promise) this.#session = undefined;
    };
    const session = connect("http://localhost", {
      createConnection: () => connectSocket(this.#path),
      ...MEMORY,
      settings: { initialWindowSize: 1024 * 1024, enablePush: false },
    });
    session.once("connect", () => opening.resolve(session));
    session.once("goaway", forget);
    session.once("close", () => {
      forget();
      opening.reject(this.unavailable("it closed the connection"));
    });
    session.on("error", (error) => {
      forget();
      opening.reject(this.unavailable(error));
    });
    this.#last = session;
    return opening.promise;
  }

  [Symbol.dispose](): void {
    // Perhaps it is not connected yet, and nobody waits for it any more.
    this.#session?.catch(() => undefined);
    this.#last?.destroy();
  }
}

export function header(headers: Headers, name: string): string | undefined {
  const value = headers[name] as string | number | string[] | undefined;
  return Array.isArray(value) ? value[0] : value?.toString();
}

/** Connects one call of a client with one call of the server behind, untouched, both ways, until both have ended. */
export async function pass(stream: ServerHttp2Stream, headers: Headers, upstream: Upstream): Promise<void> {
  let behind: ClientHttp2Stream;
  try {
    behind = await upstream.open(headers);
  } catch (error) {
    return refuse(stream, error);
  }
  if (stream.closed) return behind.close(constants.NGHTTP2_CANCEL);
  let trailers: Headers | undefined;
  let broken: Error | undefined;
  const ended = new Promise<void>((resolve) => {
    behind.once("trailers", (headers) => {
      trailers = headers;
      resolve();
    });
    behind.once("close", resolve);
  });
  behind.once("response", (response, flags) => {
    if (stream.closed) return;
    const isLast = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
    stream.respond(response, isLast ? { endStream: true } : { waitForTrailers: true });
    if (isLast) {
      // Unread it would never close.
      behind.resume();
      return;
    }
    const lost = (): Headers => statusTrailers("UNAVAILABLE", upstream.unavailable(broken ?? "it went away").message);
    const close = (): void => {
      if (!stream.closed) stream.sendTrailers(trailers ?? lost());
    };
    stream.once("wantTrailers", () => void ended.then(close));
    behind.pipe(stream);
  });
  stream.pipe(behind);
  stream.once("close", () => {
    if (!behind.closed)
      behind.close(stream.rstCode === constants.NGHTTP2_NO_ERROR ? constants.NGHTTP2_CANCEL : stream.rstCode);
  });
  behind.once("error", (error) => (broken = error));
  behind.once("close", () => {
    if (stream.closed || behind.readableEnded) return;
    if (!stream.headersSent) refuse(stream, upstream.unavailable(broken ?? "it went away"));
    else if (behind.rstCode !== constants.NGHTTP2_NO_ERROR && !broken) stream.close(behind.rstCode);
    else stream.end();
  });
}

function refuse(stream: ServerHttp2Stream, error: unknown): void {
  if (stream.closed) return;
  const failure = error instanceof Failure ? error : new Failure("INTERNAL", "INTERNAL", messageOf(error));
  stream.respond(
    { ":status": 200, "content-type": "application/grpc", ...statusTrailers(failure.code, failure.message) },
    { endStream: true },
  );
  stream.resume();
}
