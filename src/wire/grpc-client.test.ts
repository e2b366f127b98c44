import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Metadata, Server, ServerCredentials, type UntypedServiceImplementation } from "@grpc/grpc-js";
import { createCriClient } from "./cri-client.ts";
import * as cri from "./gen/runtime_pb.ts";

const RUNTIME = "/runtime.v1.RuntimeService";

/** A grpc-js server that has the given methods of RuntimeService, as bytes. */
async function serve(methods: Record<string, { stream?: boolean; handle: UntypedServiceImplementation[string] }>) {
  const dir = mkdtempSync(join(tmpdir(), "orlop-wire-"));
  const socket = join(dir, "s");
  const server = new Server({ "grpc.max_send_message_length": -1 });
  server.addService(
    Object.fromEntries(
      Object.entries(methods).map(([name, { stream }]) => [
        name,
        {
          path: `${RUNTIME}/${name}`,
          requestStream: false,
          responseStream: stream === true,
          requestSerialize: (bytes: Buffer) => bytes,
          requestDeserialize: (bytes: Buffer) => bytes,
          responseSerialize: (bytes: Uint8Array) => Buffer.from(bytes),
          responseDeserialize: (bytes: Buffer) => bytes,
        },
      ]),
    ),
    Object.fromEntries(Object.entries(methods).map(([name, { handle }]) => [name, handle])),
  );
  await new Promise<void>((resolve, reject) =>
    server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    ),
  );
  return {
    socket,
    [Symbol.dispose]() {
      server.forceShutdown();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

test("a unary call carries the request and brings the answer, beyond grpc-js's 4 MiB", async () => {
  using server = await serve({
    ExecSync: {
      handle: (call: { request: Buffer }, callback: (error: null, bytes: Uint8Array) => void) => {
        const { containerId } = fromBinary(cri.ExecSyncRequestSchema, call.request);
        const stdout = Buffer.alloc(6 * 1024 * 1024, containerId);
        callback(null, toBinary(cri.ExecSyncResponseSchema, create(cri.ExecSyncResponseSchema, { stdout })));
      },
    },
  });
  using client = createCriClient(server.socket);
  const { stdout } = await client.execSync({ containerId: "x" });
  assert.equal(stdout.length, 6 * 1024 * 1024);
  assert.equal(stdout.at(-1), "x".charCodeAt(0));
});

test("a failure keeps the server's code and message", async () => {
  using server = await serve({
    Version: {
      handle: (_call: unknown, callback: (error: object) => void) =>
        callback({ code: 9, details: "ImageVolumeMountFailed: no", metadata: new Metadata() }),
    },
  });
  using client = createCriClient(server.socket);
  await assert.rejects(client.version({}), { code: "FAILED_PRECONDITION", message: "ImageVolumeMountFailed: no" });
  await assert.rejects(client.status({}), { code: "UNIMPLEMENTED", reason: "RPC_FAILED" });
});

test("an abort and a timeout end the call on both sides", async () => {
  const cancelled = Promise.withResolvers<void>();
  using server = await serve({
    Version: { handle: (call: { on(event: string, f: () => void): void }) => call.on("cancelled", cancelled.resolve) },
  });
  using client = createCriClient(server.socket);
  await assert.rejects(client.version({}, { timeout: 30 }), { code: "DEADLINE_EXCEEDED" });
  await cancelled.promise;
  const abort = new AbortController();
  const pending = client.version({}, { signal: abort.signal });
  const reason = new Error("enough");
  setImmediate(() => abort.abort(reason));
  await assert.rejects(pending, reason);
  await assert.rejects(client.version({}, { signal: abort.signal }), reason);
});

test("a stream brings every message; leaving it early cancels it", async () => {
  const cancelled = Promise.withResolvers<void>();
  using server = await serve({
    GetContainerEvents: {
      stream: true,
      handle: (call: { write(bytes: Uint8Array): void; on(event: string, f: () => void): void }) => {
        for (const containerId of ["a", "b", "c"])
          call.write(
            toBinary(cri.ContainerEventResponseSchema, create(cri.ContainerEventResponseSchema, { containerId })),
          );
        call.on("cancelled", cancelled.resolve);
      },
    },
  });
  using client = createCriClient(server.socket);
  const seen: string[] = [];
  for await (const event of client.getContainerEvents({})) if (seen.push(event.containerId) === 3) break;
  assert.deepEqual(seen, ["a", "b", "c"]);
  await cancelled.promise;
});

test("no server: one line that names the socket", async () => {
  using client = createCriClient("/nonexistent/containerd.sock");
  await assert.rejects(client.version({}), {
    code: "UNAVAILABLE",
    message: "the server does not answer: connect ENOENT /nonexistent/containerd.sock",
  });
});
