// Objects made to hurt the node that pulls them: each ends in a clear error, and leaves nothing behind.
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { isFailure } from "#base";
import { digestOf, MEDIA } from "#oci";
import { TAR_END, tarHeader } from "#tar";
import { startEngine } from "../support/engine.ts";
import { startFakeRegistry, type FakeRegistry } from "../support/fake-registry.ts";
import { tarOf } from "../support/packagings.ts";
import { PLAIN } from "../support/tar-header.ts";

let registry: FakeRegistry;
before(async () => {
  registry = await startFakeRegistry();
});
after(async () => {
  await registry[Symbol.asyncDispose]();
});

/** A million members in less than a megabyte: zstd frames of ten thousand headers, a hundred times. */
function bomb(): Buffer {
  const header = tarHeader(PLAIN);
  const frame = zstdCompressSync(Buffer.concat(Array.from({ length: 10_000 }, () => header)));
  const layer = Buffer.concat(Array.from({ length: 100 }, () => frame));
  assert.ok(layer.length < 2 ** 20, `${layer.length} bytes`);
  return layer;
}

/** The first header of a PAX archive, made to promise an extended header of a gibibyte. */
function giantPax(): Buffer {
  const header = Buffer.from(tarHeader({ ...PLAIN, path: "x".repeat(200) }).subarray(0, 512));
  header.write((2 ** 30).toString(8).padStart(11, "0"), 124);
  header.fill(" ", 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return Buffer.concat([header, TAR_END]);
}

const LAYERS: Readonly<Record<string, { readonly reason: string; readonly layer: () => Buffer }>> = {
  "a million members in a megabyte": { reason: "TAR_LIMIT", layer: bomb },
  "a PAX header of a gibibyte": { reason: "TAR_LIMIT", layer: giantPax },
  "hard links in a loop": { reason: "INVALID_LAYER", layer: () => tarOf("a => b", "b => a") },
  "a size that lies": { reason: "INVALID_TAR", layer: () => Buffer.from(tarHeader({ ...PLAIN, size: 2 ** 41 })) },
  "a name above the root": { reason: "UNSAFE_PATH", layer: () => tarOf("../../etc/passwd") },
  "symlinks in circles": { reason: "UNSAFE_PATH", layer: () => tarOf("a -> b", "b -> a", "a/f") },
};

for (const [title, { reason, layer }] of Object.entries(LAYERS))
  test(`an image with ${title} is refused`, async () => {
    const bytes = layer();
    await refuses(MEDIA.imageConfig, [registry.putBlob(bytes, MEDIA.layer)], reason);
  });

const titled = (title: string, content: string): object => ({
  ...registry.putBlob(content, "text/plain"),
  annotations: { "org.opencontainers.image.title": title },
});

const ARTIFACTS: Readonly<Record<string, () => readonly object[]>> = {
  "an absolute name": () => [titled("/etc/passwd", "1")],
  "a name above the root": () => [titled("a/../../b", "2")],
  "a file where a directory is": () => [titled("a/b", "3"), titled("a", "4")],
  "two blobs at one path": () => [titled("a", "5"), titled("a", "6")],
  "a directory that goes through a symlink": () => [
    {
      ...registry.putBlob(gzipSync(tarOf("d/l -> /etc", "d/l/passwd")), `${MEDIA.layer}+gzip`),
      annotations: { "org.opencontainers.image.title": "d", "io.deis.oras.content.unpack": "true" },
    },
  ],
};

for (const [title, layers] of Object.entries(ARTIFACTS))
  test(`an artifact with ${title} is refused`, async () => {
    await refuses(MEDIA.empty, layers(), "UNSAFE_PATH");
  });

async function refuses(configType: string, layers: readonly object[], reason: string): Promise<void> {
  await using node = await startEngine();
  const config = registry.putBlob("{}", configType);
  registry.putManifest("hostile", "v1", { schemaVersion: 2, mediaType: MEDIA.manifest, config, layers });
  await assert.rejects(node.engine.pull({ reference: `${registry.host}/hostile:v1` }), (error) => {
    assert.ok(isFailure(error, reason), String(error));
    assert.match(error.message, /^[^\n]{1,1000}$/);
    if (reason === "UNSAFE_PATH") assert.match(error.message, /sha256:[0-9a-f]{64}/, "the blob is named");
    return true;
  });
  assert.deepEqual(await node.engine.list(), []);
  await node.engine.prune();
  for (const name of ["blobs/sha256", "ingests", "snapshots"])
    assert.deepEqual(readdirSync(join(node.dir, "data/v1", name)), [], name);
  assert.deepEqual(readdirSync(join(node.dir, "run/mounts")), []);
}

test("a blob whose digest lies is refused", async () => {
  const layer = registry.putBlob("promised", "text/plain");
  registry.blobs.set(layer.digest, Buffer.from("another"));
  await refuses(MEDIA.empty, [{ ...layer, size: 7 }], "DIGEST_MISMATCH");
  assert.notEqual(digestOf("another"), layer.digest);
});
