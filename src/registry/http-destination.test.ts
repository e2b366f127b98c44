import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { parseReference } from "#oci";
import { describe, manifestOf, pieces } from "../../test/support/content.ts";
import { fail, startFakeRegistry } from "../../test/support/fake-registry.ts";
import { createRegistry, noCredentials, type DestinationOptions, type Registry } from "./index.ts";

const BYTES = randomBytes(40_000_000);
const BLOB = describe(BYTES);
const CHUNKED: DestinationOptions = { chunkedFrom: 1 };

function client(): Registry {
  const patience = { attempts: 3, base: 1, cap: 2 };
  return createRegistry({ hosts: {}, credentials: noCredentials, userAgent: "orlop/test", patience });
}

test("an upload whose connection breaks is begun anew", async () => {
  await using server = await startFakeRegistry();
  await using registry = client();
  let puts = 0;
  server.intercepts.push((request) => {
    const isBroken = request.method === "PUT" && ++puts === 1;
    if (isBroken) request.once("data", () => request.socket.destroy());
    return isBroken;
  });
  const to = registry.destination(parseReference(`${server.host}/x/y`));
  await to.pushBlob(BLOB, pieces(BYTES, 1_000_000));
  assert.ok(server.blobs.get(BLOB.digest)?.equals(BYTES));
});

test("a chunk that was lost or taken in by half is sent from where the registry stands", async () => {
  await using server = await startFakeRegistry();
  await using registry = client();
  let patches = 0;
  server.intercepts.push((request, response) => {
    if (request.method !== "PATCH") return false;
    patches++;
    if (patches === 1) request.once("data", () => request.socket.destroy());
    if (patches === 3) fail(response, 503, "UNAVAILABLE");
    return patches === 1 || patches === 3;
  });
  const received: number[] = [];
  const to = registry.destination(parseReference(`${server.host}/x/y`), [], CHUNKED);
  await to.pushBlob(BLOB, pieces(BYTES, 9_000_000), { onProgress: (progress) => received.push(progress.received) });
  assert.ok(server.blobs.get(BLOB.digest)?.equals(BYTES));
  assert.equal(patches, 5);
  assert.deepEqual(received, [16 * 1024 * 1024, 32 * 1024 * 1024, BYTES.length]);
});

test("a registry without chunks gets the blob in one piece", async () => {
  await using server = await startFakeRegistry();
  await using registry = client();
  server.intercepts.push((request, response) => {
    if (request.method === "PATCH") fail(response, 405, "UNSUPPORTED");
    return request.method === "PATCH";
  });
  await registry.destination(parseReference(`${server.host}/x/y`), [], CHUNKED).pushBlob(BLOB, pieces(BYTES));
  assert.ok(server.blobs.get(BLOB.digest)?.equals(BYTES));
});

test("bytes that are not the blob's are refused by the registry, and said so", async () => {
  await using server = await startFakeRegistry();
  await using registry = client();
  const to = registry.destination(parseReference(`${server.host}/x/y`));
  const lie = { ...describe(Buffer.from("abc")), size: 3 };
  await assert.rejects(to.pushBlob(lie, pieces(Buffer.from("abd"))), /DIGEST_INVALID/);
  await assert.rejects(to.pushBlob({ ...lie, size: 4 }, pieces(Buffer.from("abc"))), { reason: "SIZE_MISMATCH" });
});

test("an empty blob and a manifest by digest and tag arrive", async () => {
  await using server = await startFakeRegistry();
  await using registry = client();
  const empty = describe(Buffer.alloc(0));
  const to = registry.destination(parseReference(`${server.host}/x/y`));
  await to.pushBlob(empty, pieces(Buffer.alloc(0)));
  assert.equal(server.blobs.get(empty.digest)?.length, 0);
  const { descriptor, bytes } = manifestOf(empty, []);
  await to.pushManifest(descriptor, bytes, "v1");
  assert.deepEqual([...server.manifests.keys()], [`x/y@${descriptor.digest}`, "x/y:v1"]);
});

test("a manifest with a subject is listed under the subject's tag where the registry has no referrers API", async () => {
  for (const referrers of [false, true]) {
    await using server = await startFakeRegistry({ referrers });
    await using registry = client();
    const reference = parseReference(`${server.host}/x/y`);
    const subject = manifestOf(describe(Buffer.from("{}")), []).descriptor;
    const to = registry.destination(reference);
    const signatures = ["one", "two"].map((note) =>
      manifestOf(describe(Buffer.from("{}"), "application/vnd.test"), [], { subject, annotations: { note } }),
    );
    for (const { descriptor, bytes } of [...signatures, ...signatures]) await to.pushManifest(descriptor, bytes);
    const found = await Array.fromAsync(registry.source(reference).referrers(subject));
    assert.deepEqual(
      found.map(({ digest }) => digest),
      signatures.map(({ descriptor }) => descriptor.digest),
    );
    assert.equal(server.manifests.has(`x/y:${subject.digest.replace(":", "-")}`), !referrers);
    if (!referrers) assert.deepEqual(found[0]?.artifactType, "application/vnd.test");
  }
});
