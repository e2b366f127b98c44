import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { isFailure } from "#base";
import { digestOf, type Digest } from "#oci";
import { TAR_END, tarHeader, tarPadding } from "#tar";
import { startEngine } from "../support/engine.ts";
import { startFakeRegistry, type FakeRegistry } from "../support/fake-registry.ts";

const MIB = 1024 * 1024;
// Larger than a blob that is fetched in one piece, and smaller.
const CONTENTS = [randomBytes(3 * MIB), Buffer.from("small")];

function tarOf(content: Buffer): Buffer {
  const numbers = { mode: 0o644, uid: 0, gid: 0, size: content.length, devmajor: 0, devminor: 0 };
  const header = { ...numbers, path: "file", mtime: { seconds: 0, nanoseconds: 0 }, linkname: "", xattrs: new Map() };
  return Buffer.concat([tarHeader({ ...header, type: "file" }), content, tarPadding(content.length), TAR_END]);
}

function putImage(registry: FakeRegistry, layer: Buffer, diffId: Digest): string {
  const config = { architecture: "amd64", os: "linux", config: {}, rootfs: { type: "layers", diff_ids: [diffId] } };
  registry.putManifest("x", "v1", {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: { ...registry.putBlob(JSON.stringify(config)), mediaType: "application/vnd.oci.image.config.v1+json" },
    // Whatever the media type says, the first bytes decide.
    layers: [registry.putBlob(layer, "application/vnd.oci.image.layer.v1.tar+gzip")],
  });
  return `${registry.host}/x:v1`;
}

function halves(bytes: Buffer): [Buffer, Buffer] {
  const middle = Math.floor(bytes.length / 3);
  return [bytes.subarray(0, middle), bytes.subarray(middle)];
}

function skippable(length: number): Buffer {
  const frame = Buffer.alloc(8 + length);
  frame.writeUInt32LE(0x184d2a53, 0);
  frame.writeUInt32LE(length, 4);
  return frame;
}

const PACKINGS: Readonly<Record<string, (tar: Buffer) => Buffer>> = {
  "a plain tar": (tar) => tar,
  "one gzip member": (tar) => gzipSync(tar),
  "several gzip members and zeros behind them": (tar) =>
    Buffer.concat([...halves(tar).map((half) => gzipSync(half)), Buffer.alloc(1024)]),
  "one zstd frame": (tar) => zstdCompressSync(tar),
  "several zstd frames with skippable ones between": (tar) => {
    const [one, two] = halves(tar).map((half) => zstdCompressSync(half)) as [Buffer, Buffer];
    return Buffer.concat([skippable(9), one, skippable(0), two, skippable(300)]);
  },
};

for (const [packing, pack] of Object.entries(PACKINGS)) {
  test(`a layer that is ${packing} is stored as its plain tar`, async () => {
    for (const content of CONTENTS) {
      await using registry = await startFakeRegistry();
      await using node = await startEngine();
      const tar = tarOf(content);
      const { digest } = await node.engine.pull({ reference: putImage(registry, pack(tar), digestOf(tar)) });
      assert.deepEqual(readdirSync(join(node.dir, "data/v1/blobs/sha256")), [digestOf(tar).slice(7)]);
      const target = join(node.dir, "volume");
      mkdirSync(target);
      await node.engine.publish({ owner: "test", digest, target });
      assert.ok(readFileSync(join(target, "file")).equals(content));
      await node.engine.unpublish("test");
      // What is there in another form is not fetched again.
      await node.engine.pull({ reference: `${registry.host}/x:v1` });
      assert.equal(registry.log.filter((line) => line.startsWith("GET") && line.includes("/blobs/")).length, 2);
    }
  });
}

const REFUSED: Readonly<Record<string, { readonly reason: string; readonly layer: (tar: Buffer) => Buffer }>> = {
  "is another tar than the config says": {
    reason: "DIFFID_MISMATCH",
    layer: () => gzipSync(tarOf(Buffer.from("other"))),
  },
  "breaks off in the middle of its gzip": { reason: "INVALID_LAYER", layer: (tar) => gzipSync(tar).subarray(0, -20) },
  "breaks off in the middle of its zstd": {
    reason: "INVALID_LAYER",
    layer: (tar) => zstdCompressSync(tar).subarray(0, -20),
  },
  "has a flipped bit inside its gzip": {
    reason: "INVALID_LAYER",
    layer: (tar) => {
      const packed = gzipSync(tar);
      packed[packed.length - 5] = (packed[packed.length - 5] ?? 0) ^ 1;
      return packed;
    },
  },
  "is a gzip bomb": { reason: "TOO_LARGE", layer: () => gzipSync(Buffer.alloc(40 * MIB)) },
  "is a zstd bomb": { reason: "TOO_LARGE", layer: () => zstdCompressSync(Buffer.alloc(200 * MIB)) },
};

for (const [fault, { reason, layer }] of Object.entries(REFUSED)) {
  test(`a layer that ${fault} is refused by its digest, and nothing is left`, async () => {
    await using registry = await startFakeRegistry();
    await using node = await startEngine({ inflateLimits: { floor: 10 * MIB, ratio: 20 } });
    const tar = tarOf(CONTENTS[0] ?? Buffer.of());
    const packed = layer(tar);
    await assert.rejects(node.engine.pull({ reference: putImage(registry, packed, digestOf(tar)) }), (error) => {
      assert.ok(isFailure(error, reason), String(error));
      assert.ok(error.message.includes(digestOf(packed)), error.message);
      return true;
    });
    assert.deepEqual(await node.engine.list(), []);
    await node.engine.prune();
    for (const name of ["blobs/sha256", "ingests", "snapshots"])
      assert.deepEqual(readdirSync(join(node.dir, "data/v1", name)), [], name);
  });
}
