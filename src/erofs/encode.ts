import { createHash } from "node:crypto";
import { Failure, bytesOf } from "#base";
import type { Digest } from "#oci";
import type { Extent, FileTree, Node } from "#tree";
import { crc32c } from "./crc32c.ts";
import { writeDevice } from "./devices.ts";
import { bitsFor, chunkSize, type BlobFacts, type ChunkPlan } from "./file-data.ts";
import { BLOCK, BLOCK_BITS, CHUNK, COMPACT, DEVICE, DIRENT, EXTENDED, FEATURE, KIND } from "./format.ts";
import { LAYOUT, SLOT, SUPER, XATTR, alignUp } from "./format.ts";
import { directoryBlocks } from "./measure.ts";
import { planImage, type Plan } from "./plan.ts";

export interface EncodedImage {
  readonly image: Uint8Array;
  /** The blobs that the image points into, in the order of its device table, which is the order a mount must give them in. */
  readonly devices: readonly Digest[];
}

/** The image, in the two ways that it is written. */
interface Output {
  readonly image: Buffer;
  readonly view: DataView;
}

/** new_encode_dev: 12 bits of major and 20 of minor. */
const MAJOR_LIMIT = 0xfff;
const MINOR_LIMIT = 0xfffff;

/**
 * Writes a file tree as an EROFS image that holds no file data but the last few bytes of some: files point into their blobs, which
 * are the image's extra devices. A blob of which no file needs a whole block is no device.
 *
 * The same tree gives the same bytes, on every machine: no time, no randomness, and a UUID from the content. From front to back:
 * superblock, the root's inode, device table, shared attributes, inodes with what is inline, and blocks of directories and long links.
 *
 * @throws Failure UNALIGNED_EXTENT, XATTR_TOO_LARGE, BLOB_TOO_LARGE, TOO_MANY_BLOBS, IMAGE_TOO_LARGE, INVALID_TREE naming the path.
 */
export function encodeErofs(tree: FileTree, blobs: BlobFacts): EncodedImage {
  const plan = planImage(tree, blobs);
  const image = Buffer.alloc(plan.size);
  writeSuperblock(image, plan);
  for (const device of plan.devices.values())
    writeDevice(image, plan.deviceTable + (device.id - 1) * DEVICE.size, device);
  image.set(plan.xattrs.shared, plan.sharedXattrs);
  const out = { image, view: new DataView(image.buffer, image.byteOffset, image.length) };
  for (let i = 0; i < plan.walk.nodes.length; i++) writeInode(out, plan, i);
  seal(image);
  return { image, devices: [...plan.devices.keys()] };
}

function writeSuperblock(image: Buffer, plan: Plan): void {
  const at = SUPER.at;
  const table = plan.devices.size > 0;
  image.writeUInt32LE(SUPER.magic, at);
  image.writeUInt32LE(FEATURE.checksum | FEATURE.mtime, at + SUPER.featureCompat);
  image.writeUInt8(BLOCK_BITS, at + SUPER.blockBits);
  image.writeUInt16LE((plan.inodes.positions[0] ?? 0) / SLOT, at + SUPER.rootNid);
  image.writeBigUInt64LE(BigInt(plan.walk.nodes.length), at + SUPER.inodes);
  image.writeBigUInt64LE(BigInt(plan.epoch), at + SUPER.epoch);
  image.writeUInt32LE(plan.size / BLOCK, at + SUPER.blocks);
  image.writeUInt32LE(plan.sharedXattrs / BLOCK, at + SUPER.xattrBlock);
  image.writeUInt32LE(FEATURE.chunkedFile | (table ? FEATURE.deviceTable : 0), at + SUPER.featureIncompat);
  image.writeUInt16LE(plan.devices.size, at + SUPER.extraDevices);
  image.writeUInt16LE(table ? plan.deviceTable / DEVICE.size : 0, at + SUPER.deviceTableSlot);
}

/** The UUID is the beginning of the SHA-256 of everything else; the checksum covers the superblock's block. */
function seal(image: Buffer): void {
  createHash("sha256")
    .update(image)
    .digest()
    .copy(image, SUPER.at + SUPER.uuid, 0, 16);
  image.writeUInt32LE(crc32c(image.subarray(SUPER.at, SUPER.at + BLOCK)), SUPER.at + SUPER.checksum);
}

/** One inode, what follows it, and its blocks. */
function writeInode(out: Output, plan: Plan, index: number): void {
  const { walk, inodes } = plan;
  const { image, view } = out;
  const node = walk.nodes[index] as Node;
  const at = inodes.positions[index] ?? 0;
  const size = inodes.sizes[index] ?? 0;
  const tail = inodes.tails[index] ?? 0;
  const isCompact = inodes.compact[index] === 1;
  const body = node.xattrs.size === 0 ? undefined : plan.xattrs.bodies.get(node);
  const data = plan.data.get(index);
  const isChunked = node.kind === "file" && size > 0 && data?.kind !== "flat";
  const layout = isChunked ? LAYOUT.chunks : tail > 0 ? LAYOUT.inline : LAYOUT.plain;
  const { union, ino, uid, gid } = isCompact ? COMPACT : EXTENDED;
  view.setUint16(at, (isCompact ? 0 : 1) | (layout << 1), true);
  view.setUint16(at + 2, body === undefined ? 0 : 1 + (body.length - XATTR.header) / 4, true);
  view.setUint16(at + 4, KIND[node.kind].mode | node.mode, true);
  view.setUint32(at + union, unionOf(plan, node, index), true);
  view.setUint32(at + ino, index + 1, true);
  if (isCompact) {
    view.setUint16(at + COMPACT.nlink, walk.links.at(index), true);
    view.setUint32(at + COMPACT.length, size, true);
    view.setUint16(at + uid, node.uid, true);
    view.setUint16(at + gid, node.gid, true);
  } else {
    setInt64(view, at + EXTENDED.length, size);
    view.setUint32(at + uid, node.uid, true);
    view.setUint32(at + gid, node.gid, true);
    setInt64(view, at + EXTENDED.mtime, node.mtime.seconds);
    view.setUint32(at + EXTENDED.nanoseconds, node.mtime.nanoseconds, true);
    view.setUint32(at + EXTENDED.nlink, walk.links.at(index), true);
  }
  let end = at + (isCompact ? COMPACT.size : EXTENDED.size);
  if (body !== undefined) {
    image.set(body, end);
    end += body.length;
  }
  const blocks = (inodes.blocks[index] ?? 0) * BLOCK;
  if (node.kind === "file") {
    if (data?.kind === "flat") image.set(data.tail, end);
    else if (data !== undefined) writeChunks(view, alignUp(end, CHUNK.size), data, plan);
    else if (isChunked) writeChunk(view, alignUp(end, CHUNK.size), node.extents[0] as Extent, 0, plan);
  } else if (node.kind === "directory") writeDirectory(out, plan, index, blocks, end);
  else if (node.kind === "symlink") {
    const target = bytesOf(node.target);
    target.copy(image, blocks, 0, size - tail);
    target.copy(image, end, size - tail);
  }
}

/** Whole numbers of any sign, in two's complement. */
function setInt64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, Math.floor(value / 2 ** 32) >>> 0, true);
}

/** The word of an inode that means something else for each kind: where the data is, or which device it stands for. */
function unionOf(plan: Plan, node: Node, index: number): number {
  if (node.kind === "file") {
    const data = plan.data.get(index);
    if (data?.kind === "chunks") return CHUNK.indexes | data.bits;
    if (data === undefined) return node.size === 0 ? 0 : CHUNK.indexes | bitsFor(node.size);
    const device = plan.devices.get(data.run.blob);
    return device === undefined ? 0 : device.unified + data.run.offset / BLOCK;
  }
  if (node.kind !== "char" && node.kind !== "block") return plan.inodes.blocks[index] ?? 0;
  const { major, minor } = node;
  if (major > MAJOR_LIMIT || minor > MINOR_LIMIT)
    throw new Failure(
      "INVALID_ARGUMENT",
      "INVALID_TREE",
      `${plan.walk.path(index)}: Linux has no device ${major}:${minor}; ${MAJOR_LIMIT}:${MINOR_LIMIT} is the last`,
    );
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

function writeChunks(view: DataView, start: number, data: ChunkPlan, plan: Plan): void {
  const step = chunkSize(data.bits);
  let run = 0;
  for (let i = 0; i < data.count; i++) {
    const at = i * step;
    while ((data.runs[run]?.end ?? Infinity) <= at) run++;
    const found = data.runs[run];
    const entry = start + i * CHUNK.size;
    if (found === undefined || found.at > at) view.setUint32(entry + CHUNK.block, CHUNK.hole, true);
    else writeChunk(view, entry, found, at, plan);
  }
}

/** The chunk that begins at byte `at` of the file. */
function writeChunk(
  view: DataView,
  entry: number,
  run: { readonly at: number; readonly blob: Digest; readonly offset: number },
  at: number,
  plan: Plan,
): void {
  view.setUint16(entry + CHUNK.device, plan.devices.get(run.blob)?.id ?? 0, true);
  view.setUint32(entry + CHUNK.block, (run.offset + at - run.at) / BLOCK, true);
}

/** Each block: the entries, then their names. The last may be inline, at `inline`. */
function writeDirectory({ image, view }: Output, plan: Plan, index: number, blocks: number, inline: number): void {
  const { walk, inodes } = plan;
  const { names, nameStarts } = walk;
  const cuts = directoryBlocks(walk, index);
  const end = walk.firstEntry.at(index) + walk.entryCount.at(index);
  for (let i = 0; i < cuts.length; i++) {
    const from = cuts[i]?.from ?? end;
    const until = cuts[i + 1]?.from ?? end;
    const isInline = i === cuts.length - 1 && (inodes.tails[index] ?? 0) > 0;
    const start = isInline ? inline : blocks + i * BLOCK;
    let nameOffset = (until - from) * DIRENT.size;
    for (let entry = from; entry < until; entry++) {
      const at = start + (entry - from) * DIRENT.size;
      const child = walk.children.at(entry);
      const kind = walk.nodes[child]?.kind ?? "file";
      view.setUint32(at, (inodes.positions[child] ?? 0) / SLOT, true);
      view.setUint16(at + DIRENT.nameOffset, nameOffset, true);
      view.setUint8(at + DIRENT.type, KIND[kind].type);
      // Names are short: a loop beats a call of the runtime.
      for (let byte = nameStarts.at(entry); byte < nameStarts.at(entry + 1); byte++)
        image[start + nameOffset++] = names[byte] ?? 0;
    }
  }
}
