import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { MEDIA, digestOf } from "#oci";
import { DigestPool } from "./digest-pool.ts";
import { fetchBlob, INFLATE_LIMITS, type InflateLimits, type StoredBlob } from "./fetch-blob.ts";
import { blobPath, openLayout } from "./layout.ts";
import { PATIENCE } from "./patience.ts";
import { Slots } from "./slots.ts";

/** Fetches bytes as a tar layer. */
async function fetched(
  packed: Uint8Array,
  pool: DigestPool,
  limits: InflateLimits = INFLATE_LIMITS,
): Promise<{ readonly blob: StoredBlob; readonly bytes: Buffer }> {
  const dir = await mkdtemp(join(tmpdir(), "orlop-fetch-"));
  try {
    const layout = openLayout(dir);
    const target = { mediaType: MEDIA.layer, digest: digestOf(packed), size: packed.length };
    const blob = await fetchBlob({
      layout,
      pool,
      slots: new Slots(4),
      patience: PATIENCE,
      limits,
      source: { name: "a source", fetch: () => Promise.resolve(packed) } as never,
      target,
      want: { as: "tar" },
      directory: dir,
      signal: new AbortController().signal,
      onReceived: () => {},
      onWaiting: () => {},
      onNamed: () => {},
    });
    return { blob, bytes: await readFile(blobPath(layout, blob.stored)) };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** As one whose threads must not be needed. */
const noThreads = {
  digest: () => assert.fail("a thread was asked to hash"),
  inflate: () => assert.fail("a thread was asked to inflate"),
} as unknown as DigestPool;

test("a small layer, packed or not, is stored without a thread", async () => {
  const plain = Buffer.from("two files and their names".repeat(1000));
  for (const packed of [
    plain,
    gzipSync(plain),
    Buffer.concat([gzipSync(plain.subarray(0, 9)), gzipSync(plain.subarray(9))]),
  ]) {
    const { blob, bytes } = await fetched(packed, noThreads);
    assert.deepEqual(blob, { stored: digestOf(plain), size: plain.length, isTar: true });
    assert.deepEqual(bytes, plain);
  }
});

test("a small layer that comes to more, or is not whole, goes the way of large ones", async () => {
  await using pool = new DigestPool();
  const large = Buffer.alloc(5 * 1024 * 1024, "x");
  assert.equal((await fetched(gzipSync(large), pool)).blob.stored, digestOf(large));
  await assert.rejects(fetched(gzipSync(large), pool, { floor: 1000, ratio: 1 }), { reason: "TOO_LARGE" });
  await assert.rejects(fetched(gzipSync("x".repeat(1000)).subarray(0, -9), pool), { reason: "INVALID_LAYER" });
});
