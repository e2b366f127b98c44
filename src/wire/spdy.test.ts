import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { duplexPair, Readable, type Duplex } from "node:stream";
import { buffer, text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { test } from "node:test";
import { deflateSync, constants } from "node:zlib";
import fc from "fast-check";
import { isFailure } from "#base";
import { SpdyConnection } from "./spdy.ts";
import { DICTIONARY, HeaderDecoder, HeaderEncoder } from "./spdy-headers.ts";
import { encode, FrameReader, type SpdyFrame } from "./spdy-frames.ts";
import type { SpdyStream } from "./spdy-stream.ts";

function pair(onStream: (stream: SpdyStream) => void): { client: SpdyConnection; server: SpdyConnection } {
  const [near, far] = duplexPair();
  const server = new SpdyConnection(far, { side: "server", onStream });
  return { server, client: new SpdyConnection(near, { side: "client" }) };
}

/** The other side without any of our code: what it was sent, and a way to send. */
function raw(side: "client" | "server"): { peer: Duplex; connection: SpdyConnection; frames: SpdyFrame[] } {
  const [near, peer] = duplexPair();
  const reader = new FrameReader();
  const frames: SpdyFrame[] = [];
  peer.on("data", (chunk: Buffer) => frames.push(...reader.read(chunk)));
  const connection = new SpdyConnection(near, { side, onStream: () => {} });
  return { peer, connection, frames };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("the dictionary is the specification's: its checksum stands in every compressed header block", () => {
  // zlib writes the checksum of the dictionary it was given after its own two bytes.
  assert.equal(deflateSync("", { dictionary: DICTIONARY }).readUInt32BE(2), 0xe3c6a7c2);
  assert.equal(new HeaderEncoder().encode({}).readUInt32BE(2), 0xe3c6a7c2);
});

test("headers come back as they were, through our own blocks and through zlib's", () => {
  const blocks = fc.array(
    fc.dictionary(fc.stringMatching(/^[a-z-]{1,12}$/), fc.string({ unit: "grapheme" }), { noNullPrototype: true }),
    { minLength: 1 },
  );
  fc.assert(
    fc.property(blocks, (all) => {
      const encoder = new HeaderEncoder();
      const decoder = new HeaderDecoder();
      for (const headers of all) assert.deepEqual({ ...decoder.decode(encoder.encode(headers)) }, headers);
    }),
  );
  // Go's inflater gives out nothing before the empty block of a flush.
  assert.equal(new HeaderEncoder().encode({ a: "b" }).subarray(-5).toString("hex"), "000000ffff");
  const plain = Buffer.from("\0\0\0\x01\0\0\0\x0astreamtype\0\0\0\x05error", "latin1");
  const compressed = deflateSync(plain, { dictionary: DICTIONARY, finishFlush: constants.Z_SYNC_FLUSH });
  assert.deepEqual({ ...new HeaderDecoder().decode(compressed) }, { streamtype: "error" });
});

test("frames are found again however the bytes are cut", () => {
  const bytes = Buffer.concat([
    encode.syn(1, Buffer.from("block"), true),
    encode.data(1, 3, false),
    Buffer.from("abc"),
    encode.data(1, 0, true),
    encode.reset(1, 5),
    encode.initialWindow(7),
    encode.ping(3),
    encode.goaway(1, 0),
    encode.window(1, 9),
  ]);
  const whole = [...new FrameReader().read(bytes)];
  const gist = (frames: SpdyFrame[]): unknown => [
    frames.filter((frame) => frame.type !== "data"),
    Buffer.concat(frames.flatMap((frame) => (frame.type === "data" ? [frame.bytes] : []))).toString(),
    frames.filter((frame) => frame.type === "data" && frame.fin).length,
  ];
  assert.deepEqual(whole.map((frame) => frame.type).join(), "syn,data,data,reset,settings,ping,goaway,window");
  fc.assert(
    fc.property(fc.array(fc.nat(bytes.length)), (cuts) => {
      const reader = new FrameReader();
      const at = [0, ...cuts.sort((a, b) => a - b), bytes.length];
      const found = at.slice(1).flatMap((end, i) => [...reader.read(bytes.subarray(at[i], end))]);
      assert.deepEqual(gist(found), gist(whole));
    }),
  );
});

test("whatever bytes come, a connection ends with a SPDY failure or goes on, and throws nothing", async () => {
  const frames = fc.oneof(
    fc.uint8Array({ maxLength: 64 }),
    fc
      .tuple(fc.nat(12), fc.nat(255), fc.uint8Array({ maxLength: 40 }))
      .map(([type, flags, body]) =>
        Buffer.concat([Buffer.of(0x80, 3, 0, type, flags, 0, 0, body.length), body as Uint8Array]),
      ),
    fc.tuple(fc.nat(4), fc.nat(3), fc.nat(9)).map(([id, flags, length]) => {
      return Buffer.concat([Buffer.of(0, 0, 0, id, flags, 0, 0, length), Buffer.alloc(length)]);
    }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(frames), async (all) => {
      const { peer, connection } = raw("server");
      peer.on("error", () => {});
      for (const bytes of all) if (!peer.destroyed && peer.writable) peer.write(bytes);
      await turn();
      await connection[Symbol.asyncDispose]();
      peer.destroy();
    }),
    { numRuns: 300 },
  );
});

test("each side of a stream ends for itself, and headers name what it is for", async () => {
  const asked = Promise.withResolvers<Readonly<Record<string, string>>>();
  const { client } = pair((stream) => {
    asked.resolve(stream.headers);
    void pipeline(
      stream,
      async function* (source) {
        yield `got ${(await text(source)).length}`;
      },
      stream,
    );
  });
  const stream = await client.open({ streamType: "stdin" });
  assert.deepEqual({ ...(await asked.promise) }, { streamtype: "stdin" });
  stream.end("hello");
  assert.equal(await text(stream), "got 5");
});

test("50 MB through a slow reader arrive whole, and neither side holds more than its windows", async () => {
  const total = 50 << 20;
  const hash = createHash("sha256");
  const chunk = Buffer.alloc(100_003, 7);
  let most = 0;
  const { client } = pair((stream) => {
    let left = total;
    const source = new Readable({
      read() {
        const bytes = chunk.subarray(0, Math.min(left, chunk.length));
        left -= bytes.length;
        hash.update(bytes);
        this.push(bytes.length === 0 ? null : bytes);
      },
    });
    void pipeline(source, stream);
  });
  const stream = await client.open({});
  const received = createHash("sha256");
  let size = 0;
  for await (const bytes of stream as AsyncIterable<Buffer>) {
    received.update(bytes);
    size += bytes.length;
    most = Math.max(most, stream.readableLength);
    if (size % 3 === 0) await turn();
  }
  assert.equal(size, total);
  assert.equal(received.digest("hex"), hash.digest("hex"));
  assert.ok(most <= 512 << 10, `${most} bytes were held`);
});

test("a peer that knows no windows is stopped at the socket, and hears nothing of ours", async () => {
  const { peer, connection, frames } = raw("client");
  const opening = connection.open({});
  await turn();
  peer.write(encode.reply(1, new HeaderEncoder().encode({})));
  const stream = await opening;
  let accepted = 0;
  const block = Buffer.alloc(32 << 10);
  while (peer.write(encode.data(1, block.length, false)) && peer.write(block) && accepted < 1000) {
    accepted++;
    await turn();
  }
  assert.ok(accepted < 100, "the peer was never stopped");
  peer.write(encode.data(1, 0, true));
  assert.ok((await buffer(stream)).length >= accepted * block.length);
  // It would close with our announcements unread, and lose what it had still to send.
  assert.ok(!frames.some((frame) => frame.type === "window" || frame.type === "settings"));
});

test("a peer that keeps windows learns of ours, and what is read makes room again", async () => {
  const { peer, connection, frames } = raw("client");
  peer.write(encode.initialWindow(1 << 20));
  const opening = connection.open({});
  await turn();
  peer.write(encode.reply(1, new HeaderEncoder().encode({})));
  const stream = await opening;
  const block = Buffer.alloc(200 << 10);
  peer.write(Buffer.concat([encode.data(1, block.length, false), block]));
  stream.resume();
  for (let i = 0; i < 20; i++) await turn();
  assert.ok(frames.some((frame) => frame.type === "settings" && frame.initialWindow === 256 << 10));
  assert.ok(frames.some((frame) => frame.type === "window" && frame.id === 1 && frame.delta >= 128 << 10));
});

test("without a word about windows we send on; after it, we keep to them", async () => {
  for (const announced of [undefined, 1000]) {
    const { peer, connection, frames } = raw("client");
    if (announced !== undefined) peer.write(encode.initialWindow(announced));
    const opening = connection.open({});
    await turn();
    peer.write(encode.reply(1, new HeaderEncoder().encode({})));
    const stream = await opening;
    stream.end(Buffer.alloc(200_000));
    const sent = (): number => frames.reduce((sum, frame) => sum + (frame.type === "data" ? frame.bytes.length : 0), 0);
    for (let i = 0; i < 20; i++) await turn();
    assert.equal(sent(), announced ?? 200_000);
    if (announced === undefined) continue;
    peer.write(encode.window(1, 500));
    for (let i = 0; i < 20; i++) await turn();
    assert.equal(sent(), 1500);
  }
});

test("a reset ends the reader after what came before it, and the writer with its reason", async () => {
  const { client } = pair((stream) => {
    stream.write("last words");
    stream.destroy();
  });
  const stream = await client.open({});
  const failed = once(stream, "error");
  assert.equal(await text(stream), "last words");
  assert.ok(isFailure((await failed)[0], "STREAM_RESET"));
});

test("a stream that is refused is a failure, and the connection serves the next", async () => {
  const [near, far] = duplexPair();
  const server = new SpdyConnection(far, { side: "server" });
  const client = new SpdyConnection(near, { side: "client" });
  await assert.rejects(client.open({}), (error) => isFailure(error, "STREAM_RESET"));
  await assert.rejects(client.open({}), (error) => isFailure(error, "STREAM_RESET"));
  await server[Symbol.asyncDispose]();
  await assert.rejects(client.open({}), (error) => isFailure(error, "SPDY_CLOSED"));
});

test("a connection that breaks ends every stream and every opening", async () => {
  const { peer, connection } = raw("client");
  const opening = connection.open({});
  const aborted = connection.open({}, { signal: AbortSignal.abort(new Error("enough")) });
  await assert.rejects(aborted, /enough/);
  const closed = once(connection, "close");
  peer.destroy();
  await assert.rejects(opening, (error) => isFailure(error, "SPDY_CLOSED"));
  await closed;
});

test("pings of the other side are answered, our own are not echoed", async () => {
  const { peer, frames } = raw("server");
  peer.write(encode.ping(1));
  peer.write(encode.ping(2));
  await turn();
  await turn();
  assert.deepEqual(
    frames.filter((frame) => frame.type === "ping"),
    [{ type: "ping", id: 1 }],
  );
});

test("a writer that never reads learns of a reset too", async () => {
  const { client } = pair((stream) => {
    stream.once("data", () => stream.destroy());
  });
  const stream = await client.open({});
  const failed = once(stream, "error");
  stream.write("hello");
  assert.ok(isFailure((await failed)[0], "STREAM_RESET"));
  assert.ok(stream.destroyed);
});
