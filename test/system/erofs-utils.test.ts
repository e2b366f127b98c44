// The images against the format's own tools: fsck.erofs and dump.erofs of the newest erofs-utils that Debian has, since
// those of Debian 12 (1.5) know blocks of one page only.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { encodeErofs } from "#erofs";
import { debianCommand } from "../support/debian.ts";
import { Blobs, directory, everything, file } from "../support/trees.ts";

const wide = directory(new Map(Array.from({ length: 20_000 }, (_, i) => [`name-${i}`, file(0, [])])));
const trees = {
  "every kind and shape": everything(),
  "a wide directory": { root: wide, blobs: new Blobs() },
};

for (const [name, { root, blobs }] of Object.entries(trees))
  test(`fsck.erofs and dump.erofs find nothing wrong with ${name}`, (t) => {
    const place = mkdtempSync(join(tmpdir(), "orlop-erofs-"));
    t.after(() => rmSync(place, { recursive: true }));
    const { image, devices } = encodeErofs({ root }, blobs);
    const path = join(place, "image");
    writeFileSync(path, image);
    const given = devices.map((digest, i) => {
      const device = join(place, `device${i}`);
      writeFileSync(device, blobs.bytes.get(digest) ?? "");
      return `--device=${device}`;
    });
    for (const [tool, level, looks] of [
      ["fsck.erofs", ["-d3"], /No errors found/],
      ["dump.erofs", [], /blocksize:\s+512\n/],
    ] as const) {
      const program = debianCommand("sid", "erofs-utils", `usr/bin/${tool}`);
      const { status, stdout, stderr } = spawnSync(program, [...level, ...given, path], { encoding: "utf8" });
      assert.equal(status, 0, stdout + stderr);
      assert.match(stdout + stderr, looks);
    }
  });
