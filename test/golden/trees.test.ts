// What becomes of every packaging, as text. `node test/golden/trees.test.ts --write` writes the dumps anew: read what changed.
import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gunzipSync, zstdDecompressSync } from "node:zlib";
import { planParts, type Part } from "#artifact";
import { digestOf, parseManifest } from "#oci";
import { looksLikeTar, readTar, type TarBytes } from "#tar";
import { addFile, applyArchive, applyLayer, createTree, dumpTree, finish } from "#tree";
import { PACKAGINGS, type PackagedObject } from "../support/packagings.ts";

const directory = join(import.meta.dirname, "trees");

function inflated(bytes: Buffer): Buffer {
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return gunzipSync(bytes);
  return bytes.length > 4 && bytes.readUInt32LE(0) === 0xfd2fb528 ? zstdDecompressSync(bytes) : bytes;
}

function over(archive: Buffer): TarBytes {
  return { size: archive.length, read: (offset, into) => archive.copy(into, 0, offset) };
}

function dump({ manifest, blobs }: PackagedObject): string {
  const parsed = parseManifest(manifest);
  assert.equal(parsed.kind, "manifest");
  const { format, parts } = planParts(parsed, blobs.get(parsed.config.digest) ?? Buffer.of());
  const tree = createTree();
  const add = (part: Part, bytes: Buffer): void => {
    const plain = inflated(bytes);
    if (part.kind === "layer") applyLayer(tree, readTar(over(plain)), digestOf(plain));
    else if (part.kind === "sniff" && part.whiteouts === true && looksLikeTar(plain))
      applyLayer(tree, readTar(over(plain)), digestOf(plain));
    else if (part.kind === "archive") applyArchive(tree, readTar(over(plain)), digestOf(plain), part);
    else if (part.kind === "sniff" && looksLikeTar(plain)) applyArchive(tree, readTar(over(plain)), digestOf(plain), part);
    else {
      const content = part.kind === "file" && part.inflate === true ? plain : bytes;
      const attributes = part.kind === "file" ? part.attributes : {};
      addFile(tree, part.path, { blob: digestOf(content), size: content.length, ...attributes });
    }
  };
  for (const part of parts) add(part, blobs.get(part.blob.digest) ?? Buffer.of());
  return `# ${format.name}\n${dumpTree(finish(tree))}`;
}

for (const [name, object] of Object.entries(PACKAGINGS))
  test(`the tree of ${name}`, () => {
    const file = join(directory, `${name}.dump`);
    const text = dump(object);
    if (process.argv.includes("--write")) writeFileSync(file, text);
    assert.equal(text, readFileSync(file, "utf8"));
  });

test("every dump belongs to a packaging", () => {
  assert.deepEqual(readdirSync(directory).sort(), Object.keys(PACKAGINGS).map((name) => `${name}.dump`).sort());
});
