import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { hexOf, type Digest } from "#oci";
import { readTar, type TarBytes } from "#tar";
import { addFile, applyArchive, applyLayer, createTree, finish, type FileTree } from "#tree";
import type { PlacedPart } from "./placed-part.ts";

/** Merges the parts in their order. `blobs` is the directory of blobs by the hex of their digest. Of the blobs only headers are read. */
export function buildTree(parts: readonly PlacedPart[], blobs: string): FileTree {
  const tree = createTree();
  for (const part of parts) {
    if (part.kind === "file") {
      addFile(tree, part.path, { blob: part.stored, size: part.size, ...part.attributes });
      continue;
    }
    using bytes = new BlobBytes(join(blobs, hexOf(part.stored)));
    // An empty layer may be no bytes at all.
    const entries = bytes.size === 0 ? [] : readTar(bytes);
    if (part.kind === "layer") applyLayer(tree, entries, part.stored);
    else applyArchive(tree, entries, part.stored, part);
  }
  return finish(tree);
}

/** The last bytes of each blob that do not fill a block of 512. */
export function tailsOf(sizes: ReadonlyMap<Digest, number>, blobs: string): ReadonlyMap<Digest, Uint8Array> {
  const tails = new Map<Digest, Uint8Array>();
  for (const [digest, size] of sizes) {
    const length = size % 512;
    if (length === 0) continue;
    using bytes = new BlobBytes(join(blobs, hexOf(digest)));
    const tail = new Uint8Array(length);
    bytes.read(size - length, tail);
    tails.set(digest, tail);
  }
  return tails;
}

class BlobBytes implements TarBytes, Disposable {
  readonly size: number;
  readonly #fd: number;

  constructor(path: string) {
    this.#fd = openSync(path, "r");
    this.size = fstatSync(this.#fd).size;
  }

  read(offset: number, into: Uint8Array): number {
    let done = 0;
    while (done < into.length) {
      const length = readSync(this.#fd, into, done, into.length - done, offset + done);
      if (length === 0) break;
      done += length;
    }
    return done;
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}
