import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { test } from "node:test";
import { digestOf, parseReference, type Descriptor, type Source } from "#oci";
import { makeCertificates } from "../../test/support/certificates.ts";
import { collect } from "../../test/support/content.ts";
import { startFakeRegistry } from "../../test/support/fake-registry.ts";
import { createRegistry, noCredentials, type Registry, type RegistryOptions } from "./index.ts";

const BYTES = randomBytes(20_000_000);

function client(options: Partial<RegistryOptions> = {}): Registry {
  const patience = { attempts: 3, base: 1, cap: 2 };
  return createRegistry({ hosts: {}, credentials: noCredentials, userAgent: "orlop/test", patience, ...options });
}

async function digestThrough(source: Source, blob: Descriptor, isReleasing: boolean): Promise<string> {
  const { body, release } = await source.open(blob, { start: 0, end: blob.size });
  const hash = createHash("sha256");
  for await (const piece of body) {
    hash.update(piece);
    if (isReleasing) release?.(piece);
  }
  return `sha256:${hash.digest("hex")}`;
}

for (const tls of [undefined, makeCertificates().leaf])
  test(`many blobs at once over few connections${tls === undefined ? "" : ", over TLS"}, with and without giving memory back`, async () => {
    await using server = await startFakeRegistry(tls === undefined ? {} : { tls });
    const connections = new Set<Socket>();
    server.intercepts.push((request) => (connections.add(request.socket), false));
    await using registry = client({ connections: 3 });
    const source = registry.source(parseReference(`${server.host}/x/y`));
    const blobs = [1, 2, 3, 4, 5].map((i) => server.putBlob(BYTES.subarray(i * 1000)));
    const reads = [...blobs, ...blobs].map((blob, i) => digestThrough(source, blob, i % 2 === 0));
    const digests = [...blobs, ...blobs].map(({ digest }) => digest as string);
    assert.deepEqual(await Promise.all(reads), digests);
    assert.ok(connections.size <= 3, `${connections.size} connections`);
  });

test("a slow reader holds the sender back, and gets every byte", async () => {
  await using server = await startFakeRegistry();
  await using registry = client();
  const blob = server.putBlob(BYTES);
  const { body } = await registry.source(parseReference(`${server.host}/x/y`)).open(blob, { start: 0, end: blob.size });
  const pieces: Uint8Array[] = [];
  let most = 0;
  for await (const piece of body) {
    pieces.push(piece);
    most = Math.max(most, piece.byteLength);
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal(digestOf(Buffer.concat(pieces)), blob.digest);
  assert.ok(most <= 4 * 1024 * 1024, `${most} bytes waited`);
});

test("a reader who leaves early gives up the connection, and the next one gets another", async () => {
  await using server = await startFakeRegistry();
  await using registry = client({ connections: 1 });
  const blob = server.putBlob(BYTES);
  const source = registry.source(parseReference(`${server.host}/x/y`));
  for (let i = 0; i < 3; i++) {
    const { body } = await source.open(blob, { start: 0, end: blob.size });
    for await (const _ of body) break;
  }
  const { body } = await source.open(blob, { start: 5, end: 10 });
  assert.deepEqual(await collect(body), BYTES.subarray(5, 10));
});

test("who waits for a connection can give up", async () => {
  await using server = await startFakeRegistry();
  await using registry = client({ connections: 1 });
  const blob = server.putBlob(BYTES);
  const source = registry.source(parseReference(`${server.host}/x/y`));
  const first = await source.open(blob, { start: 0, end: blob.size });
  const controller = new AbortController();
  const second = source.open(blob, { start: 0, end: blob.size }, { signal: controller.signal });
  controller.abort(new Error("enough"));
  await assert.rejects(second, /enough/);
  assert.equal(digestOf(await collect(first.body)), blob.digest);
});

test("who gives up in the moment that a connection is free leaves it to the next one", async () => {
  await using server = await startFakeRegistry();
  await using registry = client({ connections: 1 });
  const blob = server.putBlob(BYTES);
  const source = registry.source(parseReference(`${server.host}/x/y`));
  for (let moment = 0; moment < 16; moment++) {
    const first = await source.open(blob, { start: 0, end: blob.size });
    const reader = first.body[Symbol.asyncIterator]();
    await reader.next();
    const controller = new AbortController();
    const second = source.open(blob, { start: 0, end: 10 }, { signal: controller.signal });
    const third = source.open(blob, { start: 5, end: 10 }, { signal: AbortSignal.timeout(10_000) });
    const ended = Promise.allSettled([second.then(({ body }) => collect(body)), third]);
    // Both wait by then.
    await new Promise((resolve) => setImmediate(resolve));
    const gone = reader.return?.();
    for (let i = 0; i < moment; i++) await Promise.resolve();
    controller.abort(new Error("enough"));
    await gone;
    await ended;
    assert.deepEqual(await collect((await third).body), BYTES.subarray(5, 10), `moment ${moment}`);
  }
});

/** A server that writes these bytes, in these pieces, to every request. */
async function rawServer(pieces: readonly string[]): Promise<{ readonly host: string; readonly server: Server }> {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.on("data", () => {
      void (async () => {
        for (const piece of pieces) {
          socket.write(piece, "latin1");
          await new Promise((resolve) => setImmediate(resolve));
        }
      })();
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return { host: `127.0.0.1:${typeof address === "object" ? address?.port : ""}`, server };
}

const text = "0123456789";
const blob: Descriptor = { mediaType: "x", digest: digestOf(text), size: text.length };
const good: Readonly<Record<string, readonly string[]>> = {
  "byte by byte": Array.from("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789"),
  "a body in chunks": ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n"],
  "bytes behind the end": ["HTTP/1.1 200 \r\nCONTENT-LENGTH:10\r\n\r\n0123456789HTTP/1.1 500 Oops\r\n\r\n"],
};
for (const [name, pieces] of Object.entries(good))
  test(`understood: ${name}`, async () => {
    const { host, server } = await rawServer(pieces);
    try {
      await using registry = createRegistry({
        hosts: { certsDir: undefined },
        credentials: noCredentials,
        userAgent: "x",
        patience: { attempts: 1 },
      });
      const source = registry.source(parseReference(`${host}/x/y`));
      for (let round = 0; round < 2; round++) {
        const { body } = await source.open(blob, { start: 0, end: 10 });
        assert.equal((await collect(body)).toString(), text);
      }
    } finally {
      server.close();
    }
  });
const bad: Readonly<Record<string, readonly string[]>> = {
  "not HTTP": ["SSH-2.0-OpenSSH_9.2\r\n\r\n"],
  "a head without end": ["HTTP/1.1 200 OK\r\n", `X: ${"y".repeat(100_000)}`],
  "a folded field": ["HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 10\r\n\r\n0123456789"],
};
for (const [name, pieces] of Object.entries(bad))
  test(`refused: ${name}`, async () => {
    const { host, server } = await rawServer(pieces);
    try {
      await using registry = client();
      const opened = registry.source(parseReference(`${host}/x/y`)).open(blob, { start: 0, end: 10 });
      await assert.rejects(opened, { code: "UNAVAILABLE" });
    } finally {
      server.close();
    }
  });
