// A gRPC server and client that know only bytes, for tests: any path, any kind of stream.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client, credentials, Server, ServerCredentials, type ServerDuplexStream } from "@grpc/grpc-js";

export type RawCall = ServerDuplexStream<Buffer, Uint8Array>;
export type RawMethods = Readonly<Record<string, (call: RawCall) => void>>;

const bytes = (value: Uint8Array): Buffer => Buffer.from(value.buffer, value.byteOffset, value.byteLength);

/** Every method is bidirectional on the server's side, which serves all four kinds of call. Keys are full paths. */
export async function serveRaw(methods: RawMethods, socket?: string) {
  const dir = mkdtempSync(join(tmpdir(), "orlop-wire-"));
  const path = socket ?? join(dir, "s");
  const server = new Server({ "grpc.max_send_message_length": -1, "grpc.max_receive_message_length": -1 });
  // grpc-js takes no empty service.
  if (Object.keys(methods).length > 0)
    server.addService(
      Object.fromEntries(
        Object.keys(methods).map((path) => [
          path,
          {
            path,
            requestStream: true,
            responseStream: true,
            requestSerialize: bytes,
            requestDeserialize: bytes,
            responseSerialize: bytes,
            responseDeserialize: bytes,
          },
        ]),
      ),
      methods,
    );
  await new Promise<void>((resolve, reject) =>
    server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    ),
  );
  return {
    dir,
    socket: path,
    stop: () => server.forceShutdown(),
    [Symbol.dispose]() {
      server.forceShutdown();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

export function rawClient(socket: string) {
  const client = new Client(`unix:${socket}`, credentials.createInsecure(), {
    "grpc.default_authority": "localhost",
    "grpc.max_receive_message_length": -1,
    "grpc.max_send_message_length": -1,
    "grpc.use_local_subchannel_pool": 1,
    "grpc.initial_reconnect_backoff_ms": 50,
  });
  return {
    open: (path: string, ...rest: [object?]) => client.makeBidiStreamRequest(path, bytes, bytes, ...(rest as [])),
    [Symbol.dispose]: () => client.close(),
  };
}
