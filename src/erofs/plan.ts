import { Failure } from "#base";
import type { Digest } from "#oci";
import type { FileTree, Node } from "#tree";
import { isOneChunk, planData, type BlobFacts, type DataPlan } from "./file-data.ts";
import { BLOCK, CHUNK, COMPACT, DEVICE, EXTENDED, SLOT, SUPER, alignUp } from "./format.ts";
import { checkAttributes, epochOf, hasBlocks, isCompact, sizeOf } from "./measure.ts";
import { NeededDevices, type PlannedDevice } from "./needed-devices.ts";
import { Walk } from "./walk.ts";
import { planXattrs, type XattrPlan } from "./xattrs.ts";

/** The whole image. A bigger one is no tree that a container uses, and would not fit into memory well. Bytes. */
const IMAGE_LIMIT = 2 ** 30;

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
  const devices = new NeededDevices(blobs);
  for (let i = 0; i < nodes.length; i++) {
    const node = nodes[i] as Node;
    checkAttributes(node, () => walk.path(i));
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
  devices.unify(data.values(), block);
  const size = block * BLOCK;
  return { walk, xattrs, devices: devices.all, epoch, deviceTable, sharedXattrs, size, inodes, data };
}

function checkSize(bytes: number): void {
  if (bytes > IMAGE_LIMIT)
    throw new Failure(
      "RESOURCE_EXHAUSTED",
      "IMAGE_TOO_LARGE",
      `the tree's metadata alone would be more than ${IMAGE_LIMIT} bytes; it has too many entries or too scattered holes`,
    );
}
