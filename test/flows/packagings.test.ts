// One object of every packaging, from a registry into a mounted directory: the directory must be the tree that the pure rooms make.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { MEDIA, parseManifest } from "#oci";
import { startEngine } from "../support/engine.ts";
import { startFakeRegistry, type FakeRegistry } from "../support/fake-registry.ts";
import { packagedTree } from "../support/packaged-tree.ts";
import { PACKAGINGS } from "../support/packagings.ts";
import { treeOf, view } from "../support/tree-view.ts";

let registry: FakeRegistry;
before(async () => {
  registry = await startFakeRegistry();
  for (const [name, { manifest, blobs }] of Object.entries(PACKAGINGS)) {
    for (const bytes of blobs.values()) registry.putBlob(bytes);
    const { mediaType } = parseManifest(manifest);
    registry.putManifest(name, "v1", JSON.parse(manifest.toString()) as object, mediaType);
  }
});
after(async () => {
  await registry[Symbol.asyncDispose]();
});

for (const mounter of ["erofs", "directory"] as const)
  test(`${mounter}: every packaging is mounted as the tree it is planned to be`, async (t) => {
    await using node = await startEngine({ mounter });
    const { engine, dir } = node;
    for (const [name, object] of Object.entries(PACKAGINGS))
      await t.test(name, async () => {
        const expected = packagedTree(object);
        const pulled = await engine.pull({ reference: `${registry.host}/${name}:v1` });
        assert.equal(pulled.packaging, expected.format);
        const target = join(dir, name);
        mkdirSync(target);
        await engine.publish({ owner: "test", digest: pulled.digest, target });
        const mounted = treeOf(target);
        assert.deepEqual(view(mounted.tree, mounted.blobs), view(expected.tree, expected.blobs));
        await engine.unpublish("test", target);
      });
  });

test("what is inline in a manifest is not fetched", async () => {
  await using node = await startEngine();
  const name = "inline-data";
  registry.log.length = 0;
  await node.engine.pull({ reference: `${registry.host}/${name}:v1` });
  const { manifest } = PACKAGINGS[name] ?? assert.fail();
  const parsed = parseManifest(manifest);
  assert.ok(parsed.kind === "manifest" && parsed.mediaType === MEDIA.manifest);
  const [layer] = parsed.layers;
  assert.ok(!registry.log.some((line) => line.includes(layer?.digest ?? "")), registry.log.join("\n"));
});
