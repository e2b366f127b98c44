import { Failure, bytesOf } from "#base";
import type { Digest } from "#oci";
import type { FileTree, Node } from "#tree";
import { DEVICE_LIMIT } from "./devices.ts";
import { BLOCK, CHUNK, COMPACT, DEVICE, DIRENT, EXTENDED, SLOT, SUPER, TARGET_LIMIT, alignUp } from "./format.ts";
import { isOneChunk, planData, type BlobFacts, type DataPlan } from "./file-data.ts";
import { Walk } from "./walk.ts";
import { planXattrs, type XattrPlan } from "./xattrs.ts";

/** The whole image. A bigger one is no tree that a container uses, and would not fit into memory well. Bytes. */
const IMAGE_LIMIT = 2 ** 30;
const DEVICE_COUNT_LIMIT = 0xfffe;
/** The address space that flat files share has as many blocks. */
const UNIFIED_LIMIT = 0xfffffffe;

/** Where everything lies: found in a first pass, written in a second. Positions are bytes from the image's beginning. */
export interface Plan {
  readonly walk: Walk;
  readonly xattrs: XattrPlan;
  readonly devices: ReadonlyMap<Digest, PlannedDevice>;
  readonly epoch: number;
  readonly deviceTable: number;
  /** 0 where there are none. */
  readonly sharedXattrs: number;
  readonly size: number;
  readonly inodes: Inodes;
  /** Per node: files whose data is more than one chunk, or ends inside the image. */
  readonly data: ReadonlyMap<number, DataPlan>;
}

interface PlannedDevice {
  readonly digest: Digest;
  readonly size: number;
  /** Place in the device table, from 1 on. */
  readonly id: number;
  /** First block in the image's address space, where a flat file lies in it; else 0. */
  unified: number;
}

/** Per node. */
interface Inodes {
  readonly positions: Float64Array;
  /** A file's size as its reader sees it; bytes of a directory's entries or a link's target. */
  readonly sizes: Float64Array;
  /** 1 for the inodes that lose nothing by the short form. */
  readonly compact: Uint8Array;
  /** Bytes of data that follow the inode; the rest are blocks. */
  readonly tails: Uint16Array;
  /** The first of those blocks, for directories and links. */
  readonly blocks: Uint32Array;
}

/** @throws Failure as `encodeErofs` says. */
export function planImage(tree: FileTree, blobs: BlobFacts): Plan {
  const walk = new Walk(tree);
  const { nodes } = walk;
  const xattrs = planXattrs(nodes, (index) => walk.path(index));
  const epoch = epochOf(nodes);
  const inodes: Inodes = {
    positions: new Float64Array(nodes.length),
    sizes: new Float64Array(nodes.length),
    compact: new Uint8Array(nodes.length),
    tails: new Uint16Array(nodes.length),
    blocks: new Uint32Array(nodes.length),
  };
  const data = new Map<number, DataPlan>();
  const devices = new Devices(blobs);
  for (let i = 0; i < nodes.length; i++) {
    const node = nodes[i] as Node;
    const size = sizeOf(walk, node, i);
    inodes.sizes[i] = size;
    inodes.compact[i] = isCompact(node, size, walk.links.at(i), epoch) ? 1 : 0;
    if (node.kind !== "file" || size === 0) continue;
    const [extent] = node.extents;
    if (isOneChunk(node, extent, devices.sizeOf(extent?.blob))) {
      devices.need(extent.blob);
      continue;
    }
    const plan = planData(node, blobs, () => walk.path(i));
    data.set(i, plan);
    if (plan.kind === "chunks") for (const { blob } of plan.runs) devices.need(blob);
    else if (size >= BLOCK) devices.need(plan.run.blob);
  }

  const place = (i: number, from: number): number => {
    const at = alignUp(from, SLOT);
    const node = nodes[i] as Node;
    const body = node.xattrs.size === 0 ? undefined : xattrs.bodies.get(node);
    const head = (inodes.compact[i] === 1 ? COMPACT.size : EXTENDED.size) + (body?.length ?? 0);
    const size = inodes.sizes[i] ?? 0;
    const plan = data.get(i);
    inodes.positions[i] = at;
    if (node.kind === "file" && size > 0 && plan?.kind !== "flat")
      return alignUp(at + head, CHUNK.size) + (plan?.count ?? 1) * CHUNK.size;
    // What is inline must lie in one block; a little room is lost rather than a whole block used.
    const tail = plan?.kind === "flat" ? plan.tail.length : hasBlocks(node) ? size % BLOCK : 0;
    for (let start = at; start < at + BLOCK; start += SLOT) {
      if (((start + head) % BLOCK) + tail > BLOCK) continue;
      inodes.positions[i] = start;
      inodes.tails[i] = tail;
      return start + head + tail;
    }
    if (plan === undefined) return at + head;
    throw new Failure(
      "FAILED_PRECONDITION",
      "UNALIGNED_EXTENT",
      `${walk.path(i)}: EROFS cannot hold the end of this file's data beside its extended attributes`,
    );
  };

  // The root's number has 16 bits, so it comes first.
  let cursor = place(0, SUPER.at + SUPER.size);
  const deviceTable = alignUp(cursor, DEVICE.size);
  cursor = deviceTable + devices.all.size * DEVICE.size;
  const sharedXattrs = xattrs.shared.length === 0 ? 0 : alignUp(cursor, BLOCK);
  if (sharedXattrs > 0) cursor = sharedXattrs + xattrs.shared.length;
  for (let i = 1; i < nodes.length; i++) {
    cursor = place(i, cursor);
    checkSize(cursor);
  }
  let block = Math.ceil(cursor / BLOCK);
  for (let i = 0; i < nodes.length; i++) {
    if (!hasBlocks(nodes[i])) continue;
    inodes.blocks[i] = block;
    block += Math.ceil(((inodes.sizes[i] ?? 0) - (inodes.tails[i] ?? 0)) / BLOCK);
    checkSize(block * BLOCK);
  }
  unify(data, devices.all, block);
  const size = block * BLOCK;
  return { walk, xattrs, devices: devices.all, epoch, deviceTable, sharedXattrs, size, inodes, data };
}

/** The blobs that hold at least one block of a file, in the order of the tree. */
class Devices {
  readonly all = new Map<Digest, PlannedDevice>();
  readonly #sizes: ReadonlyMap<Digest, number>;
  #last: Digest | undefined;
  #lastSize = -1;

  constructor(blobs: BlobFacts) {
    this.#sizes = blobs.blobSizes;
  }

  /** -1 where nobody said. One blob's files mostly come one after the other. */
  sizeOf(blob: Digest | undefined): number {
    if (blob === undefined) return -1;
    if (blob !== this.#last) [this.#last, this.#lastSize] = [blob, this.#sizes.get(blob) ?? -1];
    return this.#lastSize;
  }

  need(blob: Digest): void {
    if (this.all.has(blob)) return;
    const size = this.sizeOf(blob);
    if (size > DEVICE_LIMIT)
      throw new Failure(
        "FAILED_PRECONDITION",
        "BLOB_TOO_LARGE",
        `blob ${blob} has ${size} bytes, and EROFS with blocks of ${BLOCK} bytes reaches ${DEVICE_LIMIT}`,
      );
    this.all.set(blob, { digest: blob, size, id: this.all.size + 1, unified: 0 });
    if (this.all.size > DEVICE_COUNT_LIMIT)
      throw new Failure(
        "FAILED_PRECONDITION",
        "TOO_MANY_BLOBS",
        `the tree's files lie in more than ${DEVICE_COUNT_LIMIT} blobs, which is all that one EROFS image can point into`,
      );
  }
}

/** Flat files name no device: their blobs get addresses behind the image's own. */
function unify(data: ReadonlyMap<number, DataPlan>, devices: ReadonlyMap<Digest, PlannedDevice>, from: number): void {
  let next = from;
  for (const plan of data.values()) {
    const device = plan.kind === "flat" ? devices.get(plan.run.blob) : undefined;
    if (device === undefined || device.unified > 0) continue;
    device.unified = next;
    next += Math.ceil(device.size / BLOCK);
    if (next > UNIFIED_LIMIT)
      throw new Failure(
        "FAILED_PRECONDITION",
        "BLOB_TOO_LARGE",
        `the blobs of the tree whose sizes are no multiples of ${BLOCK} have more than ${DEVICE_LIMIT} bytes together; EROFS cannot address them`,
      );
  }
}

/** The modification time that most inodes share: those can be written compact. Whole seconds. */
function epochOf(nodes: readonly Node[]): number {
  const counts = new Map<number, number>();
  let epoch = 0;
  let most = 0;
  for (const { mtime } of nodes) {
    if (mtime.nanoseconds !== 0 || mtime.seconds < 0) continue;
    const count = (counts.get(mtime.seconds) ?? 0) + 1;
    counts.set(mtime.seconds, count);
    if (count < most || (count === most && mtime.seconds > epoch)) continue;
    epoch = mtime.seconds;
    most = count;
  }
  return epoch;
}

function isCompact(node: Node, size: number, links: number, epoch: number): boolean {
  const { uid, gid, mtime } = node;
  const isSmall = uid <= 0xffff && gid <= 0xffff && size <= 0xffffffff && links <= 0xffff;
  return isSmall && mtime.seconds === epoch && mtime.nanoseconds === 0;
}

/** Whether the node's data lies in blocks of the image. */
function hasBlocks(node: Node | undefined): boolean {
  return node?.kind === "directory" || node?.kind === "symlink";
}

function sizeOf(walk: Walk, node: Node, index: number): number {
  if (node.kind === "file") return node.size;
  if (node.kind === "directory") {
    const blocks = directoryBlocks(walk, index);
    return (blocks.length - 1) * BLOCK + (blocks.at(-1)?.bytes ?? 0);
  }
  if (node.kind !== "symlink") return 0;
  const length = bytesOf(node.target).length;
  if (length === 0 || length > TARGET_LIMIT || node.target.includes("\0"))
    throw new Failure(
      "INVALID_ARGUMENT",
      "INVALID_TREE",
      `${walk.path(index)}: a link's target must have 1 to ${TARGET_LIMIT} bytes and no NUL; this one has ${length}`,
    );
  return length;
}

/** The entries of a directory, cut into blocks: each holds whole entries and their names. At least one, since `.` is in it. */
export function directoryBlocks(
  walk: Walk,
  index: number,
): readonly { readonly from: number; readonly bytes: number }[] {
  const first = walk.firstEntry.at(index);
  const end = first + walk.entryCount.at(index);
  const blocks: { from: number; bytes: number }[] = [];
  let block = { from: first, bytes: BLOCK };
  for (let entry = first; entry < end; entry++) {
    const needed = DIRENT.size + walk.nameLength(entry);
    if (block.bytes + needed > BLOCK) blocks.push((block = { from: entry, bytes: 0 }));
    block.bytes += needed;
  }
  return blocks;
}

function checkSize(bytes: number): void {
  if (bytes > IMAGE_LIMIT)
    throw new Failure(
      "RESOURCE_EXHAUSTED",
      "IMAGE_TOO_LARGE",
      `the tree's metadata alone would be more than ${IMAGE_LIMIT} bytes; it has too many entries or too scattered holes`,
    );
}
