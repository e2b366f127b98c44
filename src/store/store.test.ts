import assert from "node:assert/strict";
import { existsSync, mkdtempSync, promises, rmSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { MEDIA, digestOf, type Source } from "#oci";
import { Store } from "./store.ts";

for (const size of [1000, 3_000_000])
  test(`a leased blob of ${size} plain bytes is kept by whoever collects in the moment that it gets its name`, async (t) => {
    const dir = mkdtempSync(join(tmpdir(), "orlop-store-"));
    t.after(() => rmSync(dir, { recursive: true, force: true }));
    await using store = await Store.open({ dataDir: dir });
    await using other = await Store.open({ dataDir: dir });
    const plain = Buffer.alloc(size, "plain bytes");
    // Without compression, so that a large one is fetched as such.
    const packed = gzipSync(plain, { level: 0 });
    const target = { mediaType: MEDIA.layer, digest: digestOf(packed), size: packed.length };
    const source: Pick<Source, "name" | "open" | "fetch"> = {
      name: "a source",
      fetch: () => Promise.resolve(packed),
      open: (_, { start, end }) =>
        Promise.resolve({
          start,
          body: (async function* () {
            yield await Promise.resolve(packed.subarray(start, end));
          })(),
        }),
    };
    const { rename } = promises;
    let collected = 0;
    const mock = t.mock.method(promises, "rename", async (from: string, to: string) => {
      await rename(from, to);
      await other.collect();
      collected++;
    });
    syncBuiltinESMExports();
    t.after(() => {
      mock.mock.restore();
      syncBuiltinESMExports();
    });
    using _lease = store.lease([target.digest]);
    const { stored } = await store.fetch(target, { as: "tar" }, source as Source);
    assert.equal(stored, digestOf(plain));
    assert.ok(collected > 0);
    assert.ok(existsSync(store.path(stored)));
    assert.equal((await other.find(target, { as: "tar" }))?.stored, stored);
  });
