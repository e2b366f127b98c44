import assert from "node:assert/strict";
import { test } from "node:test";
import { parseReference } from "#oci";
import { collect, describe, pieces } from "../../test/support/content.ts";
import { startFakeRegistry } from "../../test/support/fake-registry.ts";
import { createRegistry, noCredentials, type Registry } from "./index.ts";

const PASSWORD = { username: "orlop", password: "secret" };

function client(): Registry {
  const patience = { attempts: 3, base: 1, cap: 2 };
  return createRegistry({ hosts: {}, credentials: noCredentials, userAgent: "orlop/test", patience });
}

test("a redirect to another host gets the range and no password", async () => {
  await using server = await startFakeRegistry({ basic: PASSWORD });
  await using bucket = await startFakeRegistry();
  await using registry = client();
  const blob = bucket.putBlob(Buffer.alloc(100_000, "x"));
  server.intercepts.push((request, response) => {
    if (request.headers.authorization === undefined) return false;
    response.writeHead(307, { location: `${bucket.url}/v2/b/blobs/${blob.digest}?signature=abc` }).end();
    return true;
  });
  const source = registry.source(parseReference(`${server.host}/x/y:v1`), [PASSWORD]);
  const { start, body } = await source.open(blob, { start: 10, end: 20 });
  assert.deepEqual([start, (await collect(body)).length], [10, 10]);
  assert.ok(server.requests.some(({ headers }) => headers.authorization !== undefined));
  assert.deepEqual(
    bucket.requests.map(({ headers }) => [headers.authorization, headers.range]),
    [[undefined, "bytes=10-19"]],
  );
});

test("another port of the same host is another host", async () => {
  await using server = await startFakeRegistry({ basic: PASSWORD });
  await using other = await startFakeRegistry({ basic: PASSWORD });
  await using registry = client();
  const blob = other.putBlob("x");
  server.intercepts.push((request, response) => {
    if (request.headers.authorization === undefined) return false;
    response.writeHead(302, { location: `${other.url}/v2/b/blobs/${blob.digest}` }).end();
    return true;
  });
  const source = registry.source(parseReference(`${server.host}/x/y:v1`), [PASSWORD]);
  await assert.rejects(source.fetch(blob), { code: "UNAVAILABLE", reason: "REDIRECT_REFUSED" });
  assert.ok(other.requests.every(({ headers }) => headers.authorization === undefined));
});

test("a signed URL that has run out is asked for anew", async () => {
  await using server = await startFakeRegistry();
  await using registry = client();
  const blob = server.putBlob("content");
  let signed = 0;
  await using bucket = await startFakeRegistry();
  bucket.blobs.set(blob.digest, Buffer.from("content"));
  bucket.intercepts.push((request, response) => {
    if (request.url?.endsWith("signature=2") === true) return false;
    response.writeHead(403).end();
    return true;
  });
  server.intercepts.push((_, response) => {
    response.writeHead(307, { location: `${bucket.url}/v2/b/blobs/${blob.digest}?signature=${++signed}` }).end();
    return true;
  });
  const bytes = await registry.source(parseReference(`${server.host}/x/y:v1`)).fetch(blob);
  assert.equal(Buffer.from(bytes).toString(), "content");
});

test("the parts of a blob are asked for where the first one came from, until that ends", async () => {
  await using server = await startFakeRegistry();
  await using bucket = await startFakeRegistry();
  await using registry = client();
  const blob = bucket.putBlob("0123456789");
  server.intercepts.push((_, response) => {
    response
      .writeHead(307, { location: `${bucket.url}/v2/b/blobs/${blob.digest}?signature=${server.log.length}` })
      .end();
    return true;
  });
  const source = registry.source(parseReference(`${server.host}/x/y:v1`));
  const read = async (start: number, end: number): Promise<string> =>
    (await collect((await source.open(blob, { start, end })).body)).toString();
  assert.deepEqual([await read(0, 3), await read(3, 6)], ["012", "345"]);
  assert.equal(server.log.length, 1);
  bucket.intercepts.push((request, response) => {
    const isOld = request.url?.endsWith("=1") === true;
    if (isOld) response.writeHead(403).end();
    return isOld;
  });
  assert.equal(await read(6, 10), "6789");
  assert.equal(server.log.length, 2);
});

test("an upload that goes to another host takes no password there", async () => {
  await using server = await startFakeRegistry({ basic: PASSWORD });
  await using uploads = await startFakeRegistry();
  await using registry = client();
  const bytes = Buffer.from("content");
  server.intercepts.push((request, response) => {
    const isBegin = request.method === "POST" && request.headers.authorization !== undefined;
    if (isBegin) response.writeHead(202, { location: `${uploads.url}/elsewhere` }).end();
    return isBegin;
  });
  uploads.intercepts.push((request, response) => {
    request.resume().once("end", () => response.writeHead(201).end());
    return true;
  });
  const to = registry.destination(parseReference(`${server.host}/x/y`), [PASSWORD]);
  await to.pushBlob(describe(bytes), pieces(bytes));
  assert.deepEqual(
    uploads.requests.map(({ method, headers }) => [method, headers.authorization]),
    [["PUT", undefined]],
  );
});
