// The encoder gives the same bytes for the same tree, on every machine and in every version that does not mean to change them.
// Where one does: the images on disk stay valid, but are made anew for the next mount.
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeErofs, sampleImage } from "#erofs";
import { digestOf } from "#oci";
import { Blobs, directory, everything, file } from "../support/trees.ts";

const wide = directory(
  new Map(
    Array.from({ length: 5000 }, (_, i) => {
      const mtime = { seconds: 1_600_000_000 + (i % 3), nanoseconds: i % 2 };
      return [`${i}-${"x".repeat(i % 200)}`, i % 5 === 0 ? directory({}, { mtime }) : file(i * 1000, [], { mtime })];
    }),
  ),
);

const GOLDEN: Readonly<Record<string, readonly [image: () => Uint8Array, digest: string]>> = {
  "the empty tree": [() => encodeErofs({ root: directory({}) }, new Blobs()).image, "sha256:6703fd6dec6a8148eb9184cd0542245d820bb953e2faf6a8fd8e597ab3a594a3"],
  "the sample": [() => sampleImage().image, "sha256:1363af97cd4b96e8f1efbc1b006c00c5c301ba2f49efbd94eda70a463a6c4a7b"],
  "every kind and shape": [() => encodeErofs({ root: everything().root }, everything().blobs).image, "sha256:b922e34652c38e515715bb8cd368a0637ee3a993f43b66c06e36a17b086f4431"],
  "a wide directory": [() => encodeErofs({ root: wide }, new Blobs()).image, "sha256:301fdc4ff8d8c3c82d4253b7c27e83f825d84a9e9b7654e46f4f98dfa0be0729"],
};

for (const [name, [image, digest]] of Object.entries(GOLDEN))
  test(`${name} has the same image as ever`, () => {
    assert.equal(digestOf(image()), digest);
  });
