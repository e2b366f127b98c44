import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { linuxKernel } from "#kernel";
import { hexOf, type Descriptor } from "#oci";
import { lockDirectory } from "#store";
import { TAR_END, tarHeader, tarPadding } from "#tar";
import { startEngine, type TestEngine } from "../support/engine.ts";
import { startFakeRegistry, type FakeRegistry } from "../support/fake-registry.ts";

/** An object of these files, each a blob of its own, by its reference. */
function putFiles(registry: FakeRegistry, name: string, layers: readonly Descriptor[]): string {
  registry.putManifest(name, "v1", {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: { ...registry.putBlob("{}"), mediaType: "application/vnd.oci.empty.v1+json" },
    layers,
  });
  return `${registry.host}/${name}:v1`;
}

function titled(blob: Descriptor, title: string, more: object = {}): Descriptor {
  return { ...blob, annotations: { "org.opencontainers.image.title": title, ...more } };
}

function emptyDirectory({ dir }: Pick<TestEngine, "dir">, name: string): string {
  const path = join(dir, name);
  mkdirSync(path);
  return path;
}

test("one small blob that is a file and a directory of the same object is fetched as both", async () => {
  await using registry = await startFakeRegistry();
  await using node = await startEngine();
  for (let round = 0; round < 10; round++) {
    const content = Buffer.from(`content of round ${round}`);
    const header = { path: "in/file", type: "file", mode: 0o644, uid: 0, gid: 0, size: content.length } as const;
    const more = { mtime: { seconds: 0, nanoseconds: 0 }, linkname: "", devmajor: 0, devminor: 0, xattrs: new Map() };
    const tar = Buffer.concat([tarHeader({ ...header, ...more }), content, tarPadding(content.length), TAR_END]);
    const packed = gzipSync(tar);
    const blob = registry.putBlob(packed, "application/vnd.oci.image.layer.v1.tar+gzip");
    const reference = putFiles(registry, `twice${round}`, [
      titled(blob, "in.tar.gz"),
      titled(blob, "in", { "io.deis.oras.content.unpack": "true" }),
    ]);
    const { digest } = await node.engine.pull({ reference });
    const target = emptyDirectory(node, `twice${round}`);
    await node.engine.publish({ owner: "pod", digest, target });
    assert.deepEqual(readFileSync(join(target, "in.tar.gz")), packed);
    assert.deepEqual(readFileSync(join(target, "in/file")), content);
  }
  assert.deepEqual(await node.engine.fsck(), []);
});

test("who unmounts late leaves alone what is mounted there now", async () => {
  await using registry = await startFakeRegistry();
  await using node = await startEngine();
  const { engine, dir } = node;
  const old = await engine.pull({ reference: putFiles(registry, "old", [titled(registry.putBlob("old"), "file")]) });
  const now = await engine.pull({ reference: putFiles(registry, "now", [titled(registry.putBlob("now"), "file")]) });
  const target = emptyDirectory(node, "volume");
  await engine.publish({ owner: "pod", digest: old.digest, target });

  // Both see the old volume, and wait for the one who holds its manifest.
  const lock = await lockDirectory(join(dir, "run/locks", hexOf(old.digest)));
  const both = [engine.unpublish("pod"), engine.unpublish("pod")];
  lock.discard();
  await lock[Symbol.asyncDispose]();
  await Promise.race(both);
  await engine.publish({ owner: "pod", digest: now.digest, target });
  await Promise.all(both);

  assert.equal(readFileSync(join(target, "file"), "utf8"), "now");
  assert.deepEqual(
    (await engine.volumes()).map(({ digest, mounted }) => ({ digest, mounted })),
    [{ digest: now.digest, mounted: true }],
  );
});

for (const mounter of ["erofs", "directory"] as const)
  test(`${mounter}: volumes are found again below a data directory with a long path`, async () => {
    const dir = mkdtempSync(join(tmpdir(), "orlop-volumes-"));
    const deep = join(dir, "a".repeat(120), "b".repeat(120));
    mkdirSync(deep, { recursive: true });
    const under = (): string[] =>
      linuxKernel()
        .mounts()
        .map(({ target }) => target)
        .filter((at) => at.startsWith(dir));
    try {
      await using registry = await startFakeRegistry();
      await using node = await startEngine({ dir: deep, mounter });
      const { digest } = await node.engine.pull({
        reference: putFiles(registry, "x", [titled(registry.putBlob("content"), "file")]),
      });
      const target = emptyDirectory(node, "volume");
      const request = { owner: "pod", digest, target };
      await node.engine.publish(request);
      assert.equal((await node.engine.volumes())[0]?.mounted, true);
      await node.engine.publish(request);
      await node.engine.unpublish("pod");
      assert.deepEqual(readdirSync(target), []);
      assert.deepEqual(under(), []);
    } finally {
      for (const target of under().toReversed()) linuxKernel().unmount(target);
      rmSync(dir, { recursive: true, force: true });
    }
  });
