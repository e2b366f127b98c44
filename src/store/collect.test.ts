import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, promises, readdirSync, rmSync, writeFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { digestOf, hexOf } from "#oci";
import { Store } from "./store.ts";

function directory(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "orlop-collect-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** Runs `instead` where files are removed, until the test is over. */
function mockRemoval(t: TestContext, instead: (rm: typeof promises.rm, path: string) => Promise<void>): () => void {
  const { rm } = promises;
  const mock = t.mock.method(promises, "rm", (path: string) => instead(rm, path));
  const restore = () => {
    mock.mock.restore();
    syncBuiltinESMExports();
  };
  syncBuiltinESMExports();
  t.after(restore);
  return restore;
}

function putUnneeded(store: Store, count: number): readonly string[] {
  return Array.from({ length: count }, (_, i) => {
    const digest = digestOf(`blob ${i}`);
    writeFileSync(store.path(digest), `blob ${i}`);
    return digest;
  });
}

test("what is named by sha512 is reported by its own digest", async (t) => {
  await using store = await Store.open({ dataDir: directory(t) });
  const digest = digestOf("manifest", "sha512");
  writeFileSync(join(store.layout.snapshots, `${hexOf(digest)}.erofs`), "tree");
  const { removed, freed } = await store.collect();
  assert.deepEqual(removed, [digest]);
  assert.ok(freed > 0);
  assert.deepEqual(readdirSync(store.layout.snapshots), []);
});

test("others may write to the records while files are being deleted", async (t) => {
  const dataDir = directory(t);
  await using store = await Store.open({ dataDir });
  await using other = await Store.open({ dataDir });
  const digests = putUnneeded(store, 40);
  let leases = 0;
  mockRemoval(t, async (rm, path) => {
    // It would wait for ten seconds and give up.
    using _lease = other.lease([digestOf("another")]);
    leases++;
    await rm(path, { recursive: true, force: true });
  });
  const { removed } = await store.collect();
  assert.deepEqual(new Set(removed), new Set(digests));
  assert.ok(leases >= digests.length);
  assert.deepEqual(readdirSync(store.layout.blobs), []);
  assert.deepEqual(readdirSync(store.layout.ingests), []);
});

test("what a collection that was killed has moved aside is gone for good, and the next process deletes it", async (t) => {
  const dataDir = directory(t);
  await using store = await Store.open({ dataDir });
  putUnneeded(store, 1);
  const restore = mockRemoval(t, () => Promise.reject(new Error("killed")));
  await assert.rejects(store.collect(), /killed/);
  restore();
  assert.deepEqual(readdirSync(store.layout.blobs), [], "nobody finds half of it");
  assert.equal(readdirSync(store.layout.ingests).length, 1);
  await using next = await Store.open({ dataDir });
  await next.sweep();
  assert.deepEqual(readdirSync(store.layout.ingests), []);
  assert.equal(await next.find({ mediaType: "", digest: digestOf("blob 0"), size: 6 }, { as: "file" }), undefined);
});

test("unfinished writes stay where they are to be kept, and go where they are not", async (t) => {
  await using store = await Store.open({ dataDir: directory(t) });
  const unfinished = join(store.layout.ingests, hexOf(digestOf("half")));
  mkdirSync(unfinished);
  writeFileSync(join(unfinished, "state"), "");
  await store.collect({ keepUnfinished: true });
  assert.deepEqual(readdirSync(unfinished), ["state"]);
  await store.collect();
  assert.deepEqual(readdirSync(store.layout.ingests), []);
});
