import { Failure } from "#base";
import type { Digest } from "#oci";
import type { Extent, File } from "#tree";
import { BLOCK, BLOCK_BITS, CHUNK_BITS_LIMIT, alignUp } from "./format.ts";

/** What must be known of the blobs that a tree points into. */
export interface BlobFacts {
  /** Bytes of every blob that the tree points into. */
  readonly blobSizes: ReadonlyMap<Digest, number>;
  /**
   * The last `size % 512` bytes of every blob that a file ends with, where that is not 0. They are copied into the image, since
   * Linux 7.0 and stable kernels after March 2026 answer a read beyond the end of a device's file with EIO instead of zeros.
   */
  readonly blobTails: ReadonlyMap<Digest, Uint8Array>;
}

/** How the kernel finds the data of one file. */
export type DataPlan = ChunkPlan | FlatPlan;

/** What nearly every file is: one chunk in one place. Such a file needs no plan, only its one extent. */
export function isOneChunk(file: File, extent: Extent | undefined, blobSize: number): extent is Extent {
  return (
    extent !== undefined &&
    file.extents.length === 1 &&
    extent.at === 0 &&
    extent.length === file.size &&
    extent.offset >= 0 &&
    extent.offset % BLOCK === 0 &&
    alignUp(extent.offset + extent.length, BLOCK) <= blobSize &&
    file.size <= chunkSize(CHUNK_BITS_LIMIT)
  );
}

/** Equal chunks, each a hole or at one place in one blob. */
export interface ChunkPlan {
  readonly kind: "chunks";
  /** A chunk is 2^bits blocks. */
  readonly bits: number;
  readonly count: number;
  readonly runs: readonly Run[];
}

/** One piece that ends with its blob, in the middle of a block: that last bit is copied into the image. */
interface FlatPlan {
  readonly kind: "flat";
  readonly run: Run;
  readonly tail: Uint8Array;
}

/** A stretch of a file that lies in one piece in one blob. */
interface Run {
  readonly at: number;
  readonly end: number;
  readonly blob: Digest;
  readonly offset: number;
}

/** Chunks of one file. 2^24 are 128 MiB of indexes: more is no file but an attack, or a hole too big for its data's alignment. */
const COUNT_LIMIT = 2 ** 24;

/**
 * A file in one piece is one chunk (of 2^31 blocks at most), one with holes or several pieces has the largest chunks that divide
 * every place where a piece begins or ends.
 *
 * @throws Failure UNALIGNED_EXTENT, INVALID_TREE naming `path()`.
 */
export function planData(file: File, blobs: BlobFacts, path: () => string): DataPlan {
  const runs = runsOf(file, path);
  let bits = bitsFor(file.size);
  for (const run of runs) {
    const { at, end, blob, offset } = run;
    if (offset % BLOCK !== 0) throw unaligned(path(), `its data lies at offset ${offset} of a blob`);
    const size = blobs.blobSizes.get(blob);
    const until = offset + (end - at);
    if (size === undefined || until > size)
      throw invalid(
        path(),
        `its data ends at byte ${until} of blob ${blob}, which has ${size ?? "an unknown number of"} bytes`,
      );
    if (alignUp(until, BLOCK) > size) {
      if (at === 0 && end === file.size) return { kind: "flat", run, tail: tailOf(run, size, blobs, path) };
      throw unaligned(path(), "it has several pieces, and its blob ends in the middle of the last one's block");
    }
    bits = Math.min(bits, at === 0 ? bits : alignmentOf(at, path), end === file.size ? bits : alignmentOf(end, path));
  }
  const count = Math.ceil(file.size / chunkSize(bits));
  if (count > COUNT_LIMIT)
    throw unaligned(path(), `its ${file.size} bytes would need ${count} chunks, since its pieces begin at odd places`);
  return { kind: "chunks", bits, count, runs };
}

function tailOf(run: Run, size: number, blobs: BlobFacts, path: () => string): Uint8Array {
  const tail = blobs.blobTails.get(run.blob);
  if (tail?.length !== size % BLOCK)
    throw invalid(
      path(),
      `the last ${size % BLOCK} bytes of blob ${run.blob} are needed to encode it, and were not given`,
    );
  return tail.subarray(0, (run.end - run.at) % BLOCK);
}

/** Bytes of a chunk. */
export function chunkSize(bits: number): number {
  return 2 ** (BLOCK_BITS + bits);
}

/** The extents in order, without empty ones, those that continue one another as one. */
function runsOf(file: File, path: () => string): readonly Run[] {
  const runs: Run[] = [];
  for (const extent of inOrder(file.extents)) {
    if (extent.length === 0) continue;
    const { at, blob, offset, length } = extent;
    const last = runs.at(-1);
    if (at < (last?.end ?? 0) || at + length > file.size || length < 0 || offset < 0)
      throw invalid(path(), `its extents overlap or reach beyond its ${file.size} bytes`);
    if (last !== undefined && last.end === at && last.blob === blob && last.offset + (at - last.at) === offset)
      runs[runs.length - 1] = { ...last, end: at + length };
    else runs.push({ at, end: at + length, blob, offset });
  }
  return runs;
}

function inOrder(extents: readonly Extent[]): readonly Extent[] {
  return extents.length < 2 ? extents : extents.toSorted((a, b) => a.at - b.at);
}

/** The smallest chunk, as 2^bits blocks, that holds `size` bytes. */
export function bitsFor(size: number): number {
  let bits = 0;
  while (bits < CHUNK_BITS_LIMIT && chunkSize(bits) < size) bits++;
  return bits;
}

/** The largest chunk that divides `position`. */
function alignmentOf(position: number, path: () => string): number {
  if (position % BLOCK !== 0) throw unaligned(path(), `one of its pieces begins or ends at byte ${position}`);
  let bits = 0;
  while (bits < CHUNK_BITS_LIMIT && position % chunkSize(bits + 1) === 0) bits++;
  return bits;
}

function unaligned(path: string, why: string): Failure {
  return new Failure(
    "FAILED_PRECONDITION",
    "UNALIGNED_EXTENT",
    `${path}: EROFS cannot point at this file's data: ${why}; EROFS counts in blocks of ${BLOCK} bytes`,
  );
}

function invalid(path: string, why: string): Failure {
  return new Failure("INVALID_ARGUMENT", "INVALID_TREE", `${path}: ${why}`);
}
