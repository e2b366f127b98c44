import {
  constants,
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import {
  create,
  fromBinary,
  toBinary,
  type DescMessage,
  type DescMethod,
  type DescService,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { Failure, messageOf, silent, type Log } from "#base";
import { pathOf } from "./grpc-client.ts";
import { decodeMessage, formatTimeout, frame, parseTimeout, readMessages, statusTrailers } from "./grpc-frame.ts";
import { codeOf } from "./grpc-status.ts";
import { header, MEMORY, pass, Upstream } from "./grpc-upstream.ts";
import { listenOnSocket } from "./unix-socket.ts";

type Headers = IncomingHttpHeaders;

/** What a handler has besides the request. */
export interface ProxyCall<I extends DescMessage, O extends DescMessage> {
  /** Aborts when the caller gives up, its deadline passes, or the proxy closes. */
  readonly signal: AbortSignal;
  /**
   * Asks the server behind, with the caller's own metadata and what is left of its deadline. A Failure that it throws,
   * thrown on by the handler, reaches the caller exactly as the server made it.
   */
  forward(request: MessageShape<I>): Promise<MessageShape<O>>;
}

type Handler<M> = M extends { input: infer I extends DescMessage; output: infer O extends DescMessage }
  ? (request: MessageShape<I>, call: ProxyCall<I, O>) => Promise<MessageInitShape<O>>
  : never;

/**
 * Answers to chosen methods of a service. A server-streaming method may be taken too: it answers with one message, and
 * its `forward` brings the server's messages merged into one.
 */
export type ProxyHandlers<S extends DescService> = { readonly [M in keyof S["method"]]?: Handler<S["method"][M]> };

interface Taken {
  readonly method: DescMethod;
  readonly handle: Handler<DescMethod>;
}
export type TakenMethods = ReadonlyMap<string, Taken>;

export function take<S extends DescService>(service: S, handlers: ProxyHandlers<S>): TakenMethods {
  const taken = new Map<string, Taken>();
  for (const method of service.methods) {
    const handle = (handlers as Readonly<Record<string, Handler<DescMethod> | undefined>>)[method.localName];
    if (handle) taken.set(pathOf(method), { method, handle });
  }
  return taken;
}

export interface GrpcProxyOptions {
  /** Unix socket to serve on. */
  readonly listen: string;
  /** Unix socket of the server behind. It need not be there yet. */
  readonly upstream: string;
  /** Who the server behind is, for errors: `containerd`. */
  readonly upstreamName: string;
  readonly taken: readonly TakenMethods[];
  readonly log?: Log;
}

/**
 * A gRPC server that answers the methods it takes and passes everything else (unknown methods, unknown services, streams)
 * to the server behind it, frame by frame, without looking inside. While that is away, calls fail with UNAVAILABLE.
 * Disposal aborts the handlers' signals and waits until they have ended.
 *
 * Not served: clients that send a raw path as `:authority`; nghttp2 refuses them below us, and kubelets send `localhost`.
 */
export async function serveGrpcProxy(options: GrpcProxyOptions): Promise<AsyncDisposable> {
  const { listen, log = silent } = options;
  const taken = new Map(options.taken.flatMap((methods) => [...methods]));
  const upstream = new Upstream(options.upstream, options.upstreamName);
  const ending = new AbortController();
  const sessions = new Set<ServerHttp2Session>();
  const handling = new Set<Promise<unknown>>();
  const server = createServer({ ...MEMORY, settings: { initialWindowSize: 1024 * 1024 } });
  server.on("session", (session) => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
    session.on("error", (error) => log.debug({ error: messageOf(error) }, "a client's connection broke"));
  });
  server.on("stream", (stream: ServerHttp2Stream, headers: Headers) => {
    stream.on("error", (error) => log.debug({ error: messageOf(error) }, "a client's call broke"));
    const method = taken.get(headers[":path"] ?? "");
    if (method) void answer(method, stream, headers, { upstream, ending: ending.signal, handling, log });
    else void pass(stream, headers, upstream);
  });
  await listenOnSocket(server, listen);
  return {
    async [Symbol.asyncDispose]() {
      ending.abort(new Failure("UNAVAILABLE", "STOPPING", "the proxy is stopping: try again"));
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const session of sessions) session.destroy();
      upstream[Symbol.dispose]();
      await closed;
      // What the handlers use is closed after us.
      await Promise.allSettled(handling);
    },
  };
}

/** Upstream's own trailers of a failure it reported, so that the caller gets what they carry besides code and message. */
const trailersOf = new WeakMap<Error, Headers>();

interface Serving {
  readonly upstream: Upstream;
  readonly ending: AbortSignal;
  /** Handlers under way, also those whose callers have gone. */
  readonly handling: Set<Promise<unknown>>;
  readonly log: Log;
}

async function answer(
  { method, handle }: Taken,
  stream: ServerHttp2Stream,
  headers: Headers,
  { upstream, ending, handling, log }: Serving,
): Promise<void> {
  const gone = new AbortController();
  const signal = AbortSignal.any([gone.signal, ending]);
  stream.once("close", () => gone.abort(new Failure("CANCELLED", "CALLER_GONE", "the caller gave up")));
  const timeout = parseTimeout(header(headers, "grpc-timeout"));
  const expires = timeout === undefined ? undefined : Date.now() + timeout;
  const timer =
    timeout === undefined
      ? undefined
      : setTimeout(
          () => gone.abort(new Failure("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", "the caller's deadline passed")),
          Math.min(timeout, 0x7fffffff),
        );
  try {
    const { count, bytes } = await readMessages(stream.iterator({ destroyOnReturn: false }), () =>
      header(headers, "grpc-encoding"),
    );
    if (count !== 1)
      throw new Failure("INTERNAL", "INVALID_FRAME", `the call carries ${count} messages instead of one`);
    const request = decode(method, bytes);
    const forward = async (message: MessageShape<DescMessage>) => {
      const left = expires === undefined ? {} : { "grpc-timeout": formatTimeout(expires - Date.now()) };
      return await relay(method, message, { ...headers, ...left }, upstream, signal);
    };
    const handled = handle(request, { signal, forward });
    handling.add(handled);
    void handled.catch(() => {}).finally(() => handling.delete(handled));
    const response = await within(signal, handled);
    finish(stream, toBinary(method.output, create(method.output, response)));
  } catch (error) {
    if (!(error instanceof Failure)) log.error({ method: pathOf(method), error: messageOf(error) }, "a call failed");
    const failure = error instanceof Failure ? error : new Failure("INTERNAL", "INTERNAL", messageOf(error));
    fail(stream, trailersOf.get(failure) ?? statusTrailers(failure.code, failure.message));
  } finally {
    clearTimeout(timer);
  }
}

function decode(method: DescMethod, bytes: Uint8Array): MessageShape<DescMessage> {
  try {
    return fromBinary(method.input, bytes);
  } catch (cause) {
    const message = `the request is not a ${method.input.typeName}: ${messageOf(cause)}`;
    throw new Failure("INTERNAL", "INVALID_MESSAGE", message, { cause });
  }
}

async function relay(
  method: DescMethod,
  message: MessageShape<DescMessage>,
  headers: Headers,
  upstream: Upstream,
  signal: AbortSignal,
): Promise<MessageShape<DescMessage>> {
  // Its length and its compression were those of the caller's bytes.
  const { "content-length": _, "grpc-encoding": __, ...rest } = headers;
  const reply = await upstream.call(rest, frame(toBinary(method.input, message)), signal);
  const status = Number(reply.trailers["grpc-status"] ?? 2);
  if (status === 0) return fromBinary(method.output, reply.bytes);
  const text = decodeMessage(String(reply.trailers["grpc-message"] ?? ""));
  const failure = new Failure(codeOf(status), "RPC_FAILED", text);
  trailersOf.set(failure, statusOnly(reply.trailers));
  throw failure;
}

function statusOnly(trailers: Headers): Headers {
  return Object.fromEntries(
    Object.entries(trailers).filter(([name]) => name.startsWith("grpc-") || name.endsWith("-bin")),
  );
}

/** Settles as the promise does, or rejects when the signal aborts; the promise then goes on unheard. */
async function within<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(signal.reason as Error);
  if (signal.aborted) abort();
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

const RESPONSE = { ":status": 200, "content-type": "application/grpc" };

function finish(stream: ServerHttp2Stream, message: Uint8Array): void {
  if (stream.destroyed || stream.closed) return;
  stream.respond(RESPONSE, { waitForTrailers: true });
  stream.once("wantTrailers", () => stream.sendTrailers(statusTrailers("OK")));
  stream.end(frame(message));
}

function fail(stream: ServerHttp2Stream, trailers: Headers): void {
  if (stream.destroyed || stream.closed) return;
  stream.respond({ ...RESPONSE, ...trailers }, { endStream: true });
  // What the caller still sends is not wanted.
  if (!stream.readableEnded) stream.close(constants.NGHTTP2_NO_ERROR);
}
