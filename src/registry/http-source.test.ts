import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { Failure } from "#base";
import { parseReference, type ByteRange, type Descriptor, type Source } from "#oci";
import { collect, describe, manifestOf } from "../../test/support/content.ts";
import { fail, startFakeRegistry, type FakeRegistry, type Intercept } from "../../test/support/fake-registry.ts";
import { createRegistry, noCredentials, type Registry, type RegistryOptions } from "./index.ts";

const BLOB = randomBytes(2_000_000);
const PART: ByteRange = { start: 500_000, end: 1_500_000 };

function client(options: Partial<RegistryOptions> = {}): Registry {
  const patience = { attempts: 4, base: 1, cap: 2 };
  return createRegistry({ hosts: {}, credentials: noCredentials, userAgent: "orlop/test", patience, ...options });
}

interface Room extends AsyncDisposable {
  readonly server: FakeRegistry;
  readonly source: Source;
  readonly blob: Descriptor;
}

/** A registry with one blob whose answers about that blob a test breaks; the other requests are answered well. */
async function roomWith(breakBlob?: Intercept, options: Partial<RegistryOptions> = {}): Promise<Room> {
  const server = await startFakeRegistry();
  const registry = client(options);
  const blob = server.putBlob(BLOB);
  if (breakBlob !== undefined)
    server.intercepts.push((request, response) =>
      request.url?.includes(blob.digest) === true ? breakBlob(request, response) : false,
    );
  const source = registry.source(parseReference(`${server.host}/x/y:v1`));
  return {
    server,
    source,
    blob,
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

async function read(source: Source, blob: Descriptor, range: ByteRange): Promise<Buffer> {
  const { start, body } = await source.open(blob, range);
  const bytes = await collect(body);
  return bytes.subarray(range.start - start, range.end - start);
}

/** Answers the first `times` requests with `intercept`, and lets the others pass. */
function first(times: number, intercept: Intercept): Intercept {
  let left = times;
  return (request, response) => (left-- > 0 ? intercept(request, response) : false);
}

test("a tag resolves to its descriptor, and its manifest comes verified", async () => {
  await using room = await roomWith();
  const { descriptor, bytes } = manifestOf(describe(Buffer.from("{}")), [room.blob]);
  room.server.putManifest("x/y", "v1", JSON.parse(bytes.toString()) as object);
  assert.deepEqual(await room.source.resolve(parseReference(`${room.server.host}/x/y:v1`)), descriptor);
  assert.deepEqual(Buffer.from(await room.source.fetch(descriptor)), bytes);
});

test("a registry whose HEAD says nothing is asked by GET", async () => {
  await using room = await roomWith();
  const descriptor = room.server.putManifest("x/y", "v1", { schemaVersion: 2 });
  room.server.intercepts.push((request, response) => {
    if (request.method === "HEAD") fail(response, 405, "UNSUPPORTED");
    return request.method === "HEAD";
  });
  assert.deepEqual(await room.source.resolve(parseReference(`${room.server.host}/x/y:v1`)), descriptor);
});

test("a digest that the body does not have is refused", async () => {
  await using room = await roomWith();
  const lie = `sha256:${"0".repeat(64)}`;
  room.server.intercepts.push((request, response) => {
    if (request.method === "HEAD") fail(response, 405, "UNSUPPORTED");
    else response.writeHead(200, { "docker-content-digest": lie, "content-type": "text/plain" }).end("{}");
    return true;
  });
  const resolved = room.source.resolve(parseReference(`${room.server.host}/x/y:v1`));
  await assert.rejects(resolved, { code: "DATA_LOSS", reason: "DIGEST_MISMATCH" });
});

test("what is missing, and who cannot be reached, is said in the words that kubelet users know", async () => {
  await using room = await roomWith();
  const { host } = room.server;
  await assert.rejects(room.source.resolve(parseReference(`${host}/x/y:v2`)), {
    code: "NOT_FOUND",
    reason: "MANIFEST_UNKNOWN",
    message: `failed to resolve image: ${host}/x/y:v2: not found`,
  });
  await assert.rejects(room.source.fetch(describe(Buffer.from("no"))), { code: "NOT_FOUND", reason: "BLOB_UNKNOWN" });
  await using registry = client();
  const nobody = parseReference("127.0.0.1:9/x/y:v1");
  await assert.rejects(registry.source(nobody).resolve(nobody), {
    code: "UNAVAILABLE",
    reason: "REGISTRY_UNAVAILABLE",
    message:
      'failed to resolve image: failed to do request: Head "https://127.0.0.1:9/v2/x/y/manifests/v1": dial tcp 127.0.0.1:9: connect: connection refused',
  });
});

test("a range comes from where it was asked for", async () => {
  await using room = await roomWith();
  const { start, body } = await room.source.open(room.blob, PART);
  assert.equal(start, PART.start);
  assert.ok((await collect(body)).equals(BLOB.subarray(PART.start, PART.end)));
});

const survived: Readonly<Record<string, Intercept>> = {
  "a 503": first(2, (_, response) => (fail(response, 503, "UNAVAILABLE"), true)),
  "a 429 with Retry-After": first(
    1,
    (_, response) => (fail(response, 429, "TOOMANYREQUESTS", { "retry-after": "0" }), true),
  ),
  "a reset before the answer": first(2, (request) => (request.socket.destroy(), true)),
  "a server that ignores Range": (request) => (delete request.headers.range, false),
  "a server that answers 416 to every range": (request, response) => {
    if (request.headers.range !== undefined) fail(response, 416, "RANGE_INVALID");
    return request.headers.range !== undefined;
  },
};
for (const [fault, intercept] of Object.entries(survived))
  test(`survived: ${fault}`, async () => {
    await using room = await roomWith(intercept);
    assert.ok((await read(room.source, room.blob, PART)).equals(BLOB.subarray(PART.start, PART.end)));
  });

const head = (range: string, length: number): Record<string, string> => ({
  "content-range": range,
  "content-length": String(length),
});
const LENGTH = PART.end - PART.start;
const HONEST = head(`bytes ${PART.start}-${PART.end - 1}/${BLOB.length}`, LENGTH);
const refused: Readonly<Record<string, readonly [intercept: Intercept, reason: string]>> = {
  "a reset in the body": [
    (_, response) => (response.writeHead(206, HONEST).write(BLOB.subarray(0, 1000), () => response.destroy()), true),
    "CONNECTION_LOST",
  ],
  "a body without length that ends early": [
    (_, response) => {
      const { "content-range": range = "" } = HONEST;
      response.writeHead(206, { "content-range": range }).end(BLOB.subarray(0, 1000));
      return true;
    },
    "CONNECTION_LOST",
  ],
  "a body that stalls": [
    (_, response) => (response.writeHead(206, HONEST).write(BLOB.subarray(0, 1000)), true),
    "CONNECTION_LOST",
  ],
  "more bytes than asked for": [
    (_, response) => {
      const { "content-range": range = "" } = HONEST;
      response.writeHead(206, { "content-range": range }).end(BLOB.subarray(0, LENGTH + 1));
      return true;
    },
    "SIZE_MISMATCH",
  ],
  "another range": [
    (_, response) => (
      response.writeHead(206, head(`bytes 0-${LENGTH - 1}/${BLOB.length}`, LENGTH)).end(BLOB.subarray(0, LENGTH)),
      true
    ),
    "WRONG_RANGE",
  ],
  "a range without saying which": [
    (_, response) => (response.writeHead(206).end(BLOB.subarray(0, LENGTH)), true),
    "WRONG_RANGE",
  ],
  "a range of another length": [
    (_, response) => (response.writeHead(206, head(HONEST["content-range"] ?? "", 5)).end("12345"), true),
    "WRONG_RANGE",
  ],
  "a blob of another size, in a range": [
    (_, response) => {
      response.writeHead(206, head(`bytes ${PART.start}-${PART.end - 1}/${BLOB.length + 1}`, LENGTH)).end();
      return true;
    },
    "SIZE_MISMATCH",
  ],
  "a blob of another size, whole": [
    (_, response) => (response.writeHead(200, { "content-length": "5" }).end("12345"), true),
    "SIZE_MISMATCH",
  ],
  "an encoding nobody asked for": [
    (_, response) => (response.writeHead(206, { ...HONEST, "content-encoding": "gzip" }).end(), true),
    "ENCODED_ANSWER",
  ],
  "503 for ever": [(_, response) => (fail(response, 503, "UNAVAILABLE"), true), "REGISTRY_UNAVAILABLE"],
  "a 429 that asks for an hour": [
    (_, response) => (fail(response, 429, "TOOMANYREQUESTS", { "retry-after": "3600" }), true),
    "RETRY_LATER",
  ],
  "redirects in a circle": [
    (request, response) => (response.writeHead(307, { location: request.url ?? "" }).end(), true),
    "TOO_MANY_REDIRECTS",
  ],
};
for (const [fault, [intercept, reason]] of Object.entries(refused))
  test(`refused: ${fault}`, async () => {
    await using room = await roomWith(intercept, { timeouts: { stall: 300 } });
    await assert.rejects(read(room.source, room.blob, PART), (error) => {
      assert.ok(error instanceof Failure);
      assert.equal(error.reason, reason, error.message);
      const { host } = room.server;
      assert.ok(error.message.includes(host) && error.message.includes(room.blob.digest), error.message);
      return true;
    });
  });

test("wrong bytes of a small blob are refused, and a body that broke off is asked for again", async () => {
  let isBroken = true;
  await using room = await roomWith((_, response) => {
    if (isBroken)
      response.writeHead(200, { "content-length": String(BLOB.length) }).write("x", () => response.destroy());
    return isBroken && !(isBroken = false);
  });
  assert.ok(BLOB.equals(await room.source.fetch(room.blob)));
  room.server.blobs.set(room.blob.digest, Buffer.from(BLOB).fill(0, 7, 8));
  await assert.rejects(room.source.fetch(room.blob), { code: "DATA_LOSS", reason: "DIGEST_MISMATCH" });
});

test("an aborted call ends with the reason of its signal", async () => {
  const controller = new AbortController();
  const reason = new Error("enough");
  await using room = await roomWith(() => (controller.abort(reason), true));
  await assert.rejects(room.source.open(room.blob, PART, { signal: controller.signal }), reason);
  const second = new AbortController();
  await using other = await roomWith(
    (_, response) => (response.writeHead(206, HONEST).write(BLOB.subarray(0, 1000)), true),
  );
  const { body } = await other.source.open(other.blob, PART, { signal: second.signal });
  await assert.rejects(
    (async () => {
      for await (const _ of body) second.abort(reason);
    })(),
    reason,
  );
});

test("a manifest larger than registries take is not read", async () => {
  await using room = await roomWith();
  const target = { ...describe(Buffer.from("x"), "application/vnd.oci.image.manifest.v1+json"), size: 5 * 1024 * 1024 };
  await assert.rejects(room.source.fetch(target), { code: "RESOURCE_EXHAUSTED", reason: "TOO_LARGE" });
  room.server.intercepts.push((request, response) => {
    if (request.method === "HEAD") fail(response, 405, "UNSUPPORTED");
    else response.writeHead(200, { "content-type": "text/plain" }).end(Buffer.alloc(5 * 1024 * 1024));
    return true;
  });
  await assert.rejects(room.source.resolve(parseReference(`${room.server.host}/x/y:v1`)), { reason: "TOO_LARGE" });
});

test("what stands in the descriptor is not asked for", async () => {
  await using registry = client();
  const bytes = Buffer.from("{}");
  const source = registry.source(parseReference("127.0.0.1:9/x/y:v1"));
  const target = { ...describe(bytes), data: bytes.toString("base64") };
  assert.deepEqual(Buffer.from(await source.fetch(target)), bytes);
  await assert.rejects(source.fetch({ ...target, data: "e30K" }), { reason: "SIZE_MISMATCH" });
});

test("referrers come page by page", async () => {
  await using room = await roomWith();
  const subject = describe(Buffer.from("subject"));
  const found = [1, 2, 3].map((i) =>
    describe(Buffer.from(`referrer ${i}`), "application/vnd.oci.image.manifest.v1+json"),
  );
  room.server.intercepts.push((request, response) => {
    if (request.url?.includes("/referrers/") !== true) return false;
    const page = Number(new URL(request.url, "http://x").searchParams.get("page") ?? "0");
    const link = `</v2/x/y/referrers/${subject.digest}?page=${page + 1}>; rel="next"`;
    response.writeHead(200, { "content-type": "application/json", ...(page < 2 ? { link } : {}) });
    response.end(JSON.stringify({ schemaVersion: 2, manifests: [found[page]] }));
    return true;
  });
  assert.deepEqual(await Array.fromAsync(room.source.referrers(subject)), found);
});
