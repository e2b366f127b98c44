import assert from "node:assert/strict";
import { gunzipSync, zstdDecompressSync } from "node:zlib";
import { planParts, type Part } from "#artifact";
import { digestOf, parseManifest, type Digest } from "#oci";
import { looksLikeTar, readTar } from "#tar";
import { addFile, applyArchive, applyLayer, createTree, finish, type FileTree } from "#tree";
import type { PackagedObject } from "./packagings.ts";
import { over } from "./tree-view.ts";

function inflated(bytes: Buffer): Buffer {
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return gunzipSync(bytes);
  return bytes.length > 4 && bytes.readUInt32LE(0) === 0xfd2fb528 ? zstdDecompressSync(bytes) : bytes;
}

/** The tree of an object, by the pure rooms alone: no store, no disk. `blobs` are the plain ones that it points into. */
export function packagedTree({ manifest, blobs }: PackagedObject): {
  readonly format: string;
  readonly tree: FileTree;
  readonly blobs: ReadonlyMap<Digest, Buffer>;
} {
  const parsed = parseManifest(manifest);
  assert.equal(parsed.kind, "manifest");
  const { format, parts } = planParts(parsed, blobs.get(parsed.config.digest) ?? Buffer.of());
  const builder = createTree();
  const stored = new Map<Digest, Buffer>();
  const store = (bytes: Buffer): Digest => {
    const digest = digestOf(bytes);
    stored.set(digest, bytes);
    return digest;
  };
  const add = (part: Part, bytes: Buffer): void => {
    const plain = inflated(bytes);
    const isTar = part.kind === "sniff" && looksLikeTar(plain);
    if (part.kind === "layer" || (isTar && part.whiteouts === true))
      applyLayer(builder, readTar(over(plain)), store(plain));
    else if (part.kind === "archive" || isTar) applyArchive(builder, readTar(over(plain)), store(plain), part);
    else {
      const content = part.kind === "file" && part.inflate === true ? plain : bytes;
      const attributes = part.kind === "file" ? part.attributes : {};
      addFile(builder, part.path, { blob: store(content), size: content.length, ...attributes });
    }
  };
  for (const part of parts) add(part, blobs.get(part.blob.digest) ?? Buffer.of());
  return { format: format.name, tree: finish(builder), blobs: stored };
}
