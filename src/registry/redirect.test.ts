import assert from "node:assert/strict";
import { test } from "node:test";
import { parseReference } from "#oci";
import { collect } from "../../test/support/content.ts";
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
