import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import {
  connect as connectHttp2,
  createServer as createHttp2,
  type ClientHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { connect as connectSocket, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Metadata, type StatusObject } from "@grpc/grpc-js";
import { Failure } from "#base";
import { cri, createCriClient, serveGrpcProxy, take, type ProxyHandlers } from "#wire";
import { rawClient, serveRaw, type RawMethods } from "../../test/support/raw-grpc.ts";

const IMAGES = "/runtime.v1.ImageService";

async function proxied(methods: RawMethods, handlers: ProxyHandlers<typeof cri.ImageService> = {}) {
  const server = await serveRaw(methods);
  const listen = join(server.dir, "proxy");
  const proxy = await serveGrpcProxy({
    listen,
    upstream: server.socket,
    upstreamName: "containerd",
    taken: [take(cri.ImageService, handlers)],
  });
  return {
    listen,
    server,
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      server[Symbol.dispose]();
    },
  };
}

function statusOf(call: ReturnType<ReturnType<typeof rawClient>["open"]>): Promise<StatusObject> {
  return new Promise((resolve) => call.on("error", () => {}).on("status", resolve));
}

test("an unknown bidirectional method passes: metadata, every message, half-close, trailers", async () => {
  await using at = await proxied({
    "/x.Y/Echo": (call) => {
      const reply = new Metadata();
      reply.set("seen", call.metadata.get("sent")[0] ?? "");
      call.sendMetadata(reply);
      call.on("data", (message: Buffer) => call.write(message));
      call.on("end", () => {
        const trailers = new Metadata();
        trailers.set("detail-bin", Buffer.of(1, 2, 255));
        call.emit("error", { code: 9, details: "grüße: 100 %", metadata: trailers });
      });
    },
  });
  using client = rawClient(at.listen);
  const sent = new Metadata();
  sent.set("sent", "here");
  const call = client.open("/x.Y/Echo", sent);
  const status = statusOf(call);
  const headers = new Promise<Metadata>((resolve) => call.on("metadata", resolve));
  const got: string[] = [];
  call.on("data", (message: Buffer) => got.push(message.toString()));
  call.write(Buffer.from("one"));
  await once(call, "data");
  call.write(Buffer.from("two"));
  call.end();
  const { code, details, metadata } = await status;
  assert.deepEqual([code, details, got], [9, "grüße: 100 %", ["one", "two"]]);
  assert.deepEqual(metadata.get("detail-bin"), [Buffer.of(1, 2, 255)]);
  assert.deepEqual((await headers).get("seen"), ["here"]);
});

test("big messages pass both ways, more than fits into any window", async () => {
  await using at = await proxied({
    "/x.Y/Echo": (call) => call.on("data", (message: Buffer) => call.write(message)).on("end", () => call.end()),
  });
  using client = rawClient(at.listen);
  const call = client.open("/x.Y/Echo");
  const big = randomBytes(15 * 1024 * 1024);
  const digest = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");
  for (let i = 0; i < 3; i++) call.write(big);
  call.end();
  const got: string[] = [];
  for await (const message of call) got.push(digest(message as Buffer));
  assert.deepEqual(got, Array(3).fill(digest(big)));
});

test("a slow reader holds the sender back", async () => {
  await using cleanup = new AsyncDisposableStack();
  const dir = mkdtempSync(join(tmpdir(), "orlop-wire-"));
  cleanup.defer(() => rmSync(dir, { recursive: true }));
  // grpc-js hides whether anybody reads, so both ends are plain HTTP/2.
  let sent = 0;
  const total = 200;
  const server = createHttp2().on("stream", (stream, headers) => {
    stream.respond({ ":status": 200 });
    if (headers[":path"] === "/x.Y/Ping") {
      stream.end("pong");
      return;
    }
    const chunk = Buffer.alloc(1024 * 1024);
    stream.on("error", () => {});
    void (async () => {
      for (; sent < total; sent++) if (!stream.write(chunk)) await once(stream, "drain");
      stream.end();
    })();
  });
  await new Promise<void>((resolve) => server.listen(join(dir, "s"), resolve));
  cleanup.defer(() => void server.close());
  cleanup.use(
    await serveGrpcProxy({ listen: join(dir, "p"), upstream: join(dir, "s"), upstreamName: "containerd", taken: [] }),
  );
  const session = connectHttp2("http://localhost", { createConnection: () => connectSocket(join(dir, "p")) });
  cleanup.defer(() => session.destroy());

  const flood = session.request({ ":method": "POST", ":path": "/x.Y/Flood" });
  await once(flood, "response");
  for (let i = 0; i < 50; i++) {
    const ping = session.request({ ":method": "POST", ":path": "/x.Y/Ping" });
    ping.resume();
    await once(ping, "end");
  }
  assert.ok(sent < 20, `${sent} MiB were taken though nobody read`);
  let got = 0;
  for await (const chunk of flood) got += (chunk as Buffer).length;
  assert.equal(got, total * 1024 * 1024);
});

test("a cancelled call is cancelled behind, and a server that dies ends the call with UNAVAILABLE", async () => {
  const cancelled = Promise.withResolvers<void>();
  const started = Promise.withResolvers<void>();
  await using at = await proxied({
    "/x.Y/Wait": (call) => {
      call.on("cancelled", cancelled.resolve);
      call.write(Buffer.from("hello"));
      started.resolve();
    },
  });
  using client = rawClient(at.listen);
  const first = client.open("/x.Y/Wait");
  first.on("error", () => {});
  await once(first, "data");
  first.cancel();
  await cancelled.promise;

  const second = client.open("/x.Y/Wait");
  const status = statusOf(second);
  await once(second, "data");
  at.server.stop();
  assert.equal((await status).code, 14);
  const third = client.open("/x.Y/Wait");
  const { code, details } = await statusOf(third);
  assert.deepEqual([code, details.includes(`containerd does not answer on ${at.server.socket}: connect`)], [14, true]);
});

/** A server that knows no gRPC, and what it does with each stream. */
async function behind(onStream: (stream: ServerHttp2Stream) => void) {
  const dir = mkdtempSync(join(tmpdir(), "orlop-wire-"));
  const upstream = join(dir, "s");
  const listen = join(dir, "proxy");
  const server = createHttp2();
  server.on("stream", onStream);
  server.listen(upstream);
  await once(server, "listening");
  const proxy = await serveGrpcProxy({ listen, upstream, upstreamName: "containerd", taken: [] });
  const session = connectHttp2("http://localhost", { createConnection: () => connectSocket(listen) });
  return {
    session,
    async [Symbol.asyncDispose]() {
      session.destroy();
      await proxy[Symbol.asyncDispose]();
      server.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

const REQUEST = { ":method": "POST", ":path": "/x.Y/Upload", "content-type": "application/grpc", te: "trailers" };

test("callers that go in the moment of their answer do no harm", { timeout: 20_000 }, async () => {
  await using at = await behind((stream) => {
    stream.on("error", () => undefined);
    stream.respond({ ":status": 200 }, { waitForTrailers: true });
    stream.once("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.end("answer");
  });
  for (let i = 0; i < 300; i++) {
    const call = at.session.request(REQUEST, { endStream: true });
    call.on("error", () => undefined);
    const closed = once(call, "close");
    if (i % 3 === 0) setImmediate(() => call.close(8));
    else call.once("response", () => call.close(8));
    await closed;
  }
});

test("a server that takes the connection and closes it is unavailable", { timeout: 20_000 }, async () => {
  const dir = mkdtempSync(join(tmpdir(), "orlop-wire-"));
  const server = createServer((socket) => socket.destroy()).listen(join(dir, "s"));
  await once(server, "listening");
  const options = { listen: join(dir, "proxy"), upstream: join(dir, "s"), upstreamName: "containerd", taken: [] };
  const proxy = await serveGrpcProxy(options);
  try {
    using client = rawClient(options.listen);
    for (let i = 0; i < 20; i++) {
      const call = client.open("/x.Y/Z");
      call.end();
      assert.equal((await statusOf(call)).code, 14);
    }
  } finally {
    await proxy[Symbol.asyncDispose]();
    server.close();
    rmSync(dir, { recursive: true });
  }
});

test("when the server behind comes back, calls reach it again", async () => {
  const echo: RawMethods = {
    "/x.Y/Echo": (call) => call.on("data", (message: Buffer) => call.write(message)).on("end", () => call.end()),
  };
  await using at = await proxied(echo);
  using client = rawClient(at.listen);
  const ask = async (): Promise<string> => {
    const call = client.open("/x.Y/Echo");
    call.end(Buffer.from("x"));
    let got = "";
    for await (const message of call) got += String(message);
    return got;
  };
  assert.equal(await ask(), "x");
  at.server.stop();
  await assert.rejects(ask(), { code: 14 });
  using _again = await serveRaw(echo, at.server.socket);
  assert.equal(await ask(), "x");
});

const answerWith = (call: Parameters<RawMethods[string]>[0], message: Uint8Array): void => {
  call.write(message);
  call.end();
};

test("a taken method answers itself, or changes what is asked; unknown fields travel in both directions", async () => {
  // Field 1000 is in no version of CRI.
  const unknown = Buffer.from([0xc2, 0x3e, 0x02, 0x68, 0x69]);
  let seen: Buffer = Buffer.alloc(0);
  await using at = await proxied(
    {
      [`${IMAGES}/ImageStatus`]: (call) =>
        call.on("data", (request: Buffer) => {
          seen = request;
          const known = toBinary(
            cri.ImageStatusResponseSchema,
            create(cri.ImageStatusResponseSchema, { image: { id: "theirs" } }),
          );
          answerWith(call, Buffer.concat([known, unknown]));
        }),
    },
    {
      imageStatus: async (request, call) => {
        if (request.image?.image === "ours") return { image: { id: "ours" } };
        if (request.image) request.image.image = "changed";
        return await call.forward(request);
      },
    },
  );
  using client = createCriClient(at.listen);
  assert.equal((await client.imageStatus({ image: { image: "ours" } })).image?.id, "ours");

  using raw = rawClient(at.listen);
  const call = raw.open(`${IMAGES}/ImageStatus`);
  const request = toBinary(
    cri.ImageStatusRequestSchema,
    create(cri.ImageStatusRequestSchema, { image: { image: "a" } }),
  );
  call.end(Buffer.concat([request, unknown]));
  const [response] = (await once(call, "data")) as [Buffer];
  assert.equal(fromBinary(cri.ImageStatusResponseSchema, response).image?.id, "theirs");
  assert.ok(response.includes(unknown) && seen.includes(unknown));
  assert.equal(fromBinary(cri.ImageStatusRequestSchema, seen).image?.image, "changed");
});

test("failures: a Failure's code and message; the server's own with its details; a broken request", async () => {
  await using at = await proxied(
    {
      [`${IMAGES}/RemoveImage`]: (call) => {
        const metadata = new Metadata();
        metadata.set("grpc-status-details-bin", Buffer.from("details"));
        call.emit("error", { code: 8, details: "full", metadata });
      },
    },
    {
      pullImage: () => Promise.reject(new Failure("NOT_FOUND", "NOT_FOUND", "no “x”\n100 %")),
      removeImage: (request, call) => call.forward(request),
    },
  );
  using client = createCriClient(at.listen);
  await assert.rejects(client.pullImage({}), { code: "NOT_FOUND", message: "no “x”\n100 %" });
  using raw = rawClient(at.listen);
  const ask = (path: string, body: Buffer): Promise<StatusObject> => {
    const call = raw.open(path);
    call.end(body);
    return statusOf(call);
  };
  const forwarded = await ask(`${IMAGES}/RemoveImage`, Buffer.alloc(0));
  assert.deepEqual([forwarded.code, forwarded.details], [8, "full"]);
  assert.deepEqual(forwarded.metadata.get("grpc-status-details-bin"), [Buffer.from("details")]);
  assert.equal((await ask(`${IMAGES}/PullImage`, Buffer.from([0x0a, 0x7f]))).code, 13);
  assert.equal((await ask(`${IMAGES}/PullImage`, Buffer.alloc(17 * 1024 * 1024))).code, 8);
});

test("a caller's deadline and its cancel reach the handler", async () => {
  const reasons: string[] = [];
  const both = Promise.withResolvers<void>();
  await using at = await proxied(
    {},
    {
      pullImage: (_request, { signal }) =>
        new Promise((_resolve, reject) =>
          signal.addEventListener("abort", () => {
            if (reasons.push((signal.reason as Failure).reason) === 2) both.resolve();
            reject(signal.reason as Failure);
          }),
        ),
    },
  );
  using client = createCriClient(at.listen);
  const abort = new AbortController();
  const pending = client.pullImage({}, { signal: abort.signal });
  await assert.rejects(client.pullImage({}, { timeout: 50 }), { code: "DEADLINE_EXCEEDED" });
  abort.abort(new Error("enough"));
  await assert.rejects(pending, { message: "enough" });
  await both.promise;
  assert.equal(reasons.at(-1), "CALLER_GONE");
});

test("a server that dies under a forwarded call makes it fail as unavailable", async () => {
  const asked = Promise.withResolvers<void>();
  await using at = await proxied(
    { [`${IMAGES}/ListImages`]: (call) => call.on("data", () => asked.resolve()) },
    { listImages: (request, call) => call.forward(request) },
  );
  using client = createCriClient(at.listen);
  const call = assert.rejects(client.listImages({}), {
    code: "UNAVAILABLE",
    message: /^containerd does not answer on /,
  });
  await asked.promise;
  at.server.stop();
  await call;
});

test("disposal aborts the handlers and waits until they have ended", async () => {
  const started = Promise.withResolvers<void>();
  let hasEnded = false;
  const at = await proxied(
    {},
    {
      pullImage: async (_request, { signal }) => {
        started.resolve();
        await new Promise<void>((resolve) => signal.addEventListener("abort", () => setTimeout(resolve, 20)));
        hasEnded = true;
        return {};
      },
    },
  );
  using client = createCriClient(at.listen);
  const call = assert.rejects(client.pullImage({}), { code: "UNAVAILABLE" });
  await started.promise;
  await at[Symbol.asyncDispose]();
  assert.equal(hasEnded, true);
  await call;
});

/** One call with the very headers and bytes given. */
async function http2Call(session: ClientHttp2Session, headers: object, body: Buffer) {
  const stream = session.request({
    ":method": "POST",
    ":scheme": "http",
    te: "trailers",
    "content-type": "application/grpc",
    ...headers,
  });
  let trailers: Record<string, unknown> = {};
  stream.on("trailers", (got) => (trailers = got));
  stream.on("response", (got) => (trailers = { ...got, ...trailers }));
  stream.end(body);
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return { trailers, body: Buffer.concat(chunks) };
}

test("an odd authority, gzip and an unknown compression", async () => {
  await using at = await proxied(
    { "/x.Y/Echo": (call) => call.on("data", (message: Buffer) => call.write(message)).on("end", () => call.end()) },
    { imageStatus: (request) => Promise.resolve({ image: { id: request.image?.image ?? "" } }) },
  );
  const session = connectHttp2("http://localhost", { createConnection: () => connectSocket(at.listen) });
  try {
    const message = Buffer.from(
      toBinary(cri.ImageStatusRequestSchema, create(cri.ImageStatusRequestSchema, { image: { image: "zipped" } })),
    );
    const framed = (flag: number, bytes: Buffer): Buffer => {
      const prefix = Buffer.alloc(5, flag);
      prefix.writeUInt32BE(bytes.length, 1);
      return Buffer.concat([prefix, bytes]);
    };
    const path = { ":path": `${IMAGES}/ImageStatus`, ":authority": "%2Frun%2Forlop%2Fcri.sock" };
    const zipped = await http2Call(session, { ...path, "grpc-encoding": "gzip" }, framed(1, gzipSync(message)));
    assert.equal(zipped.trailers["grpc-status"], "0");
    assert.equal(fromBinary(cri.ImageStatusResponseSchema, zipped.body.subarray(5)).image?.id, "zipped");
    const snappy = await http2Call(session, { ...path, "grpc-encoding": "snappy" }, framed(1, message));
    assert.equal(snappy.trailers["grpc-status"], "12");
    const empty = await http2Call(session, path, Buffer.alloc(0));
    assert.equal(empty.trailers["grpc-status"], "13");
    const passed = await http2Call(session, { ...path, ":path": "/x.Y/Echo" }, framed(0, message));
    assert.deepEqual([passed.trailers["grpc-status"], passed.body], ["0", framed(0, message)]);
  } finally {
    session.destroy();
  }
});

test("a message may come in any pieces, and a stream of lists is forwarded as one list", async () => {
  const ids = (...ids: string[]): Uint8Array =>
    toBinary(
      cri.StreamImagesResponseSchema,
      create(cri.StreamImagesResponseSchema, { images: ids.map((id) => ({ id })) }),
    );
  await using at = await proxied(
    {
      [`${IMAGES}/StreamImages`]: (call) =>
        call.on("data", () => {
          call.write(ids("a", "b"));
          call.write(ids("c"));
          call.end();
        }),
    },
    {
      imageStatus: (request) => Promise.resolve({ image: { id: request.image?.image ?? "" } }),
      streamImages: async (request, call) => {
        const { images } = await call.forward(request);
        return { images: [...images, create(cri.ImageSchema, { id: "ours" })] };
      },
    },
  );
  using client = createCriClient(at.listen);
  const seen: string[][] = [];
  for await (const { images } of client.streamImages({})) seen.push(images.map(({ id }) => id));
  assert.deepEqual(seen, [["a", "b", "c", "ours"]]);

  const session = connectHttp2("http://localhost", { createConnection: () => connectSocket(at.listen) });
  try {
    const message = toBinary(
      cri.ImageStatusRequestSchema,
      create(cri.ImageStatusRequestSchema, { image: { image: "pieces" } }),
    );
    const body = Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]);
    const stream = session.request({ ":method": "POST", ":path": `${IMAGES}/ImageStatus`, te: "trailers" });
    for (const byte of body) stream.write(Buffer.of(byte));
    stream.end();
    const answer = Buffer.concat((await stream.toArray()) as Buffer[]);
    assert.equal(fromBinary(cri.ImageStatusResponseSchema, answer.subarray(5)).image?.id, "pieces");
  } finally {
    session.destroy();
  }
});

test("a socket in use is refused, one that a killed process left is replaced, a path too long explained", async () => {
  await using at = await proxied({});
  const options = { upstream: "/nonexistent", upstreamName: "containerd", taken: [] };
  await assert.rejects(serveGrpcProxy({ ...options, listen: at.listen }), { reason: "SOCKET_IN_USE" });
  await assert.rejects(serveGrpcProxy({ ...options, listen: `/tmp/${"x".repeat(103)}` }), {
    reason: "SOCKET_PATH_TOO_LONG",
  });

  const listen = join(at.server.dir, "left");
  const script = `require("net").createServer().listen(${JSON.stringify(listen)}, () => process.kill(process.pid, "SIGKILL"))`;
  assert.equal(spawnSync(process.execPath, ["-e", script]).signal, "SIGKILL");
  assert.equal(statSync(listen).isSocket(), true);
  await using _proxy = await serveGrpcProxy({ ...options, listen });
  assert.equal(statSync(listen).mode & 0o777, 0o600);
  using client = createCriClient(listen);
  await assert.rejects(client.version({}), { message: /^containerd does not answer on \/nonexistent/ });
});
