// One run in a process of its own, so that its memory is its own: reads, merges and encodes the layers in argv[2], prints figures.
import { closeSync, fstatSync, openSync, readSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { encodeErofs } from "#erofs";
import { digestOf, type Digest } from "#oci";
import { readTar } from "#tar";
import { applyLayer, createTree, finish } from "#tree";

export interface Run {
  readonly mergeMs: number;
  readonly encodeMs: number;
  readonly peakMiB: number;
  readonly imageMiB: number;
}

const directory = process.argv[2] ?? "";
const layers = readdirSync(directory)
  .map(Number)
  .toSorted((a, b) => a - b);
const blobSizes = new Map<Digest, number>();

const start = performance.now();
const tree = createTree();
for (const layer of layers) {
  const blob = digestOf(String(layer));
  const fd = openSync(join(directory, String(layer)), "r");
  const { size } = fstatSync(fd);
  blobSizes.set(blob, size);
  const read = (offset: number, into: Uint8Array): number => readSync(fd, into, 0, into.length, offset);
  applyLayer(tree, readTar({ size, read }), blob);
  closeSync(fd);
}
const merged = performance.now();
const { image } = encodeErofs(finish(tree), { blobSizes, blobTails: new Map() });
const encoded = performance.now();

const run: Run = {
  mergeMs: merged - start,
  encodeMs: encoded - merged,
  peakMiB: process.resourceUsage().maxRSS / 1024,
  imageMiB: image.length / 2 ** 20,
};
process.stdout.write(JSON.stringify(run));
