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
import { Client, credentials, Metadata, type CallOptions as GrpcCallOptions, type ServiceError } from "@grpc/grpc-js";
import { messageOf, type CallOptions } from "#base";
import { failureOfStatus } from "./grpc-status.ts";

/** As containerd's own limit: 16 MiB. grpc-js would refuse answers above 4 MiB, which a list of many images can reach. */
export const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

export interface RpcOptions extends CallOptions {
  /** Milliseconds until the call fails with DEADLINE_EXCEEDED; the server is told. Absent: none. */
  readonly timeout?: number | undefined;
}

type Init = MessageInitShape<DescMessage>;
type Call<M> = M extends {
  methodKind: "unary";
  input: infer I extends DescMessage;
  output: infer O extends DescMessage;
}
  ? (request: MessageInitShape<I>, options?: RpcOptions) => Promise<MessageShape<O>>
  : M extends {
        methodKind: "server_streaming";
        input: infer I extends DescMessage;
        output: infer O extends DescMessage;
      }
    ? (request: MessageInitShape<I>, options?: RpcOptions) => AsyncIterable<MessageShape<O>>
    : never;

/**
 * One method for every rpc of a service, under its name with a small first letter. A failure is a Failure with the
 * server's code and its message as it came, reason `RPC_FAILED`; an abort rejects with the signal's reason.
 */
export type GrpcClient<S extends DescService> = { readonly [M in keyof S["method"]]: Call<S["method"][M]> };

export interface Connection extends Disposable {
  client<S extends DescService>(service: S): GrpcClient<S>;
}

/** A channel to a server on a unix socket. It connects when first used, and again whenever the server comes back. */
export function connectGrpc(socketPath: string, headers: Readonly<Record<string, string>> = {}): Connection {
  const channel = new Client(`unix:${socketPath}`, credentials.createInsecure(), {
    // A socket's path is no authority that servers accept.
    "grpc.default_authority": "localhost",
    "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
    "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 2000,
    // Two channels to one address shall not share a connection, so that disposing one ends what it opened.
    "grpc.use_local_subchannel_pool": 1,
  });
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return {
    client<S extends DescService>(service: S) {
      const methods = service.methods.map((method) => [
        method.localName,
        method.methodKind === "server_streaming"
          ? (request: Init, options?: RpcOptions) => stream(channel, method, request, metadata, options)
          : (request: Init, options?: RpcOptions) => unary(channel, method, request, metadata, options),
      ]);
      return Object.fromEntries(methods) as GrpcClient<S>;
    },
    [Symbol.dispose]: () => channel.close(),
  };
}

/** `/runtime.v1.RuntimeService/Version` */
export function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

function unary(channel: Client, method: DescMethod, request: Init, metadata: Metadata, options: RpcOptions = {}) {
  return new Promise((resolve, reject) => {
    const { signal } = options;
    if (signal?.aborted) return reject(signal.reason as Error);
    const call = channel.makeUnaryRequest(
      pathOf(method),
      encoder(method),
      decoder(method),
      create(method.input, request),
      metadata,
      deadlineOf(options),
      (error, response) => {
        signal?.removeEventListener("abort", abort);
        if (error) reject(signal?.aborted ? (signal.reason as Error) : translate(error));
        else resolve(response);
      },
    );
    const abort = (): void => call.cancel();
    signal?.addEventListener("abort", abort, { once: true });
  });
}

async function* stream(
  channel: Client,
  method: DescMethod,
  request: Init,
  metadata: Metadata,
  options: RpcOptions = {},
): AsyncGenerator {
  const { signal } = options;
  signal?.throwIfAborted();
  const message = create(method.input, request);
  const call = channel.makeServerStreamRequest(
    pathOf(method),
    encoder(method),
    decoder(method),
    message,
    metadata,
    deadlineOf(options),
  );
  const abort = (): void => call.cancel();
  signal?.addEventListener("abort", abort, { once: true });
  try {
    for await (const response of call) yield response;
  } catch (error) {
    throw signal?.aborted ? signal.reason : translate(error as ServiceError);
  } finally {
    signal?.removeEventListener("abort", abort);
    // A caller that leaves early leaves the server with nobody to talk to. The error that the cancel makes is nobody's.
    call.on("error", () => {});
    call.cancel();
  }
}

const encoder = (method: DescMethod) => (message: unknown) =>
  Buffer.from(toBinary(method.input, message as MessageShape<DescMessage>));
const decoder = (method: DescMethod) => (bytes: Buffer) => fromBinary(method.output, bytes);

function deadlineOf({ timeout }: RpcOptions): GrpcCallOptions {
  return timeout === undefined ? {} : { deadline: Date.now() + timeout };
}

function translate(error: ServiceError): Error {
  const details = error.details ?? messageOf(error);
  const unconnected = /^No connection established\. Last error: (?:Error: )?(.*?)\. Resolution note/.exec(details);
  return failureOfStatus(
    error.code ?? 2,
    unconnected ? `the server does not answer: ${unconnected[1]}` : details,
    error,
  );
}
