// Sparse files as GNU tar packs them, in each of its four ways, read through the kernel without being unpacked.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  closeSync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { encodeErofs } from "#erofs";
import { linuxKernel } from "#kernel";
import { digestOf } from "#oci";
import { readTar } from "#tar";
import { applyLayer, createTree, finish } from "#tree";
import { pattern } from "../support/trees.ts";

const WAYS = {
  "GNU's old format": ["--format=gnu"],
  "PAX, version 0.0": ["--format=posix", "--sparse-version=0.0"],
  "PAX, version 0.1": ["--format=posix", "--sparse-version=0.1"],
  "PAX, version 1.0": ["--format=posix", "--sparse-version=1.0"],
};

/** Size of a file, and where it has data: [offset, length]. */
const FILES: Readonly<Record<string, readonly [size: number, data: readonly (readonly [number, number])[]]>> = {
  hole: [1_000_000, []],
  start: [3_000_000, [[0, 5000]]],
  end: [2_000_001, [[1_999_000, 1001]]],
  middle: [5_000_000, [[1_000_000, 70_000]]],
  many: [9_000_123, Array.from({ length: 60 }, (_, i) => [i * 150_000, 1 + i * 100] as const)],
  dense: [40_000, [[0, 40_000]]],
};

for (const [name, options] of Object.entries(WAYS))
  for (const detection of ["seek", "raw"])
    test(`${name}, holes found by ${detection}`, (t) => {
      const place = mkdtempSync(join(tmpdir(), "orlop-sparse-"));
      const kernel = linuxKernel();
      const [source, target] = [join(place, "source"), join(place, "target")];
      t.after(() => {
        kernel.unmount(target);
        rmSync(place, { recursive: true });
      });
      mkdirSync(source);
      mkdirSync(target);
      for (const [file, [size, data]] of Object.entries(FILES)) {
        const fd = openSync(join(source, file), "w");
        ftruncateSync(fd, size);
        for (const [at, length] of data) writeSync(fd, pattern(length, at), 0, length, at);
        closeSync(fd);
      }
      const archive = join(place, "tar");
      execFileSync("tar", ["--sparse", `--hole-detection=${detection}`, ...options, "-C", source, "-cf", archive, "."]);

      const bytes = readFileSync(archive);
      const blob = digestOf(bytes);
      const read = (offset: number, into: Uint8Array) => bytes.copy(into, 0, offset, offset + into.length);
      const tree = createTree();
      applyLayer(tree, readTar({ size: bytes.length, read }), blob);
      const blobs = { blobSizes: new Map([[blob, bytes.length]]), blobTails: new Map() };
      const { image, devices } = encodeErofs(finish(tree), blobs);
      assert.deepEqual(devices, [blob]);
      writeFileSync(join(place, "image"), image);
      kernel.mountErofs({ image: join(place, "image"), devices: [archive], directIo: false, flags: {} }, target);
      for (const file of Object.keys(FILES)) {
        assert.ok(readFileSync(join(target, file)).equals(readFileSync(join(source, file))), file);
        assert.equal(lstatSync(join(target, file)).size, FILES[file]?.[0], file);
      }
    });
