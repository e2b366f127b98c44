import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { linuxKernel } from "#kernel";
import { digestOf, hexOf, type Descriptor } from "#oci";
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

test("what is named by sha512 stays mounted when another process looks for what a crash has left", async () => {
  await using registry = await startFakeRegistry();
  await using node = await startEngine({ mounter: "erofs" });
  putFiles(registry, "long", [titled(registry.putBlob("content"), "file")]);
  const found = registry.manifests.get("long:v1");
  assert.ok(found !== undefined);
  const digest = digestOf(found.bytes, "sha512");
  registry.manifests.set(`long@${digest}`, found);
  const object = await node.engine.pull({ reference: `${registry.host}/long@${digest}` });
  assert.equal(object.digest, digest);
  await node.engine.publish({ owner: "pod", digest, target: emptyDirectory(node, "volume") });
  const mounts = (): string[] =>
    linuxKernel()
      .mounts()
      .map(({ target }) => target)
      .filter((at) => at.startsWith(node.dir));
  const before = mounts();
  assert.equal(before.length, 2);
  await using _other = await startEngine({ mounter: "erofs", dir: node.dir });
  assert.deepEqual(mounts(), before);
  await node.engine.unpublish("pod");
  assert.deepEqual(mounts(), []);
});

test("a tree that EROFS cannot say is kept as a directory, beside others that are images", async () => {
  await using registry = await startFakeRegistry();
  await using node = await startEngine({ mounter: "erofs" });
  const { engine, dir } = node;
  // Holes that no program makes: the data begins at byte 100.
  const odd = registry.putBlob(oddlySparse("in/odd", 100, "here!", 1000), "application/vnd.oci.image.layer.v1.tar");
  const unpack = { "io.deis.oras.content.unpack": "true" };
  const { digest } = await engine.pull({ reference: putFiles(registry, "odd", [titled(odd, "in", unpack)]) });
  assert.deepEqual(readdirSync(join(dir, "data/v1/snapshots")), [hexOf(digest)]);
  const target = emptyDirectory(node, "volume");
  const request = { owner: "pod", digest, target };
  for (let again = 0; again < 2; again++) {
    await engine.publish(request);
    const expected = Buffer.alloc(1000);
    expected.write("here!", 100);
    assert.deepEqual(readFileSync(join(target, "in/odd")), expected);
    assert.throws(() => writeFileSync(join(target, "in/odd"), ""), { code: "EROFS" });
    await engine.publish(request);
    assert.equal((await engine.volumes())[0]?.mounted, true);
    await engine.unpublish("pod");
    assert.deepEqual(readdirSync(target), []);
  }
  await engine.remove(digest);
  assert.deepEqual(readdirSync(join(dir, "data/v1/snapshots")), []);
});

/** A tar of one file of `size` bytes, all of them holes but `data` at `at`: a sparse file of version 0.1. */
function oddlySparse(name: string, at: number, data: string, size: number): Buffer {
  const plain = { mode: 0o644, uid: 0, gid: 0, mtime: { seconds: 0, nanoseconds: 0 }, linkname: "" };
  const more = { ...plain, type: "file", devmajor: 0, devminor: 0, xattrs: new Map() } as const;
  const records = Object.entries({ size, numblocks: 2, map: `${at},${data.length},${size},0`, name })
    .map(([key, value]) => ` GNU.sparse.${key}=${value}\n`)
    .map((record) => `${record.length + 2}${record}`)
    .join("");
  const extension = Buffer.from(tarHeader({ ...more, path: "extension", size: records.length }));
  extension.write("x", 156);
  extension.fill(" ", 148, 156);
  extension.write(
    `${extension
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, "0")}\0 `,
    148,
  );
  const header = tarHeader({ ...more, path: name, size: data.length });
  const [first, second] = [records, data].map((text) => Buffer.concat([Buffer.from(text), tarPadding(text.length)]));
  return Buffer.concat([extension, first ?? "", header, second ?? "", TAR_END].map((piece) => Buffer.from(piece)));
}

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

test("a target behind a symlink is unmounted where it was mounted, wherever the symlink leads by then", async () => {
  await using registry = await startFakeRegistry();
  await using node = await startEngine();
  const reference = putFiles(registry, "x", [titled(registry.putBlob("content"), "file")]);
  const { digest } = await node.engine.pull({ reference });
  const [one, two, link] = ["one", "two", "link"].map((name) => join(node.dir, name)) as [string, string, string];
  mkdirSync(join(one, "v"), { recursive: true });
  mkdirSync(join(two, "v"), { recursive: true });
  symlinkSync(one, link);
  const request = { owner: "pod", digest, target: join(link, "v") };
  await node.engine.publish(request);
  rmSync(link);
  symlinkSync(two, link);
  assert.equal((await node.engine.volumes())[0]?.mounted, true);
  await node.engine.publish(request);
  assert.deepEqual([readdirSync(join(one, "v")), readdirSync(join(two, "v"))], [[], ["file"]]);
  rmSync(link);
  await node.engine.unpublish("pod");
  assert.deepEqual(readdirSync(join(two, "v")), []);
  assert.deepEqual(readdirSync(join(node.dir, "run/mounts")), []);
});
