import { createHash } from "node:crypto";
import { Failure, bytesOf } from "#base";
import type { Digest } from "#oci";
import type { FileTree, Node } from "#tree";
import { crc32c } from "./crc32c.ts";
import { writeDevice } from "./devices.ts";
import { chunkSize, type BlobFacts, type ChunkPlan } from "./file-data.ts";
import { BLOCK, BLOCK_BITS, CHUNK, COMPACT, DEVICE, DIRENT, EXTENDED, FEATURE, KIND } from "./format.ts";
import { LAYOUT, SLOT, SUPER, XATTR, alignUp } from "./format.ts";
import { directoryBlocks, planImage, type Plan } from "./plan.ts";

export interface EncodedImage {
  readonly image: Uint8Array;
  /** The blobs that the image points into, in the order of its device table, which is the order a mount must give them in. */
  readonly devices: readonly Digest[];
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
  for (let i = 0; i < plan.walk.nodes.length; i++) writeInode(image, plan, i);
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
function writeInode(image: Buffer, plan: Plan, index: number): void {
  const { walk, inodes } = plan;
  const node = walk.nodes[index];
  if (node === undefined) return;
  const at = inodes.positions[index] ?? 0;
  const size = inodes.sizes[index] ?? 0;
  const tail = inodes.tails[index] ?? 0;
  const isCompact = inodes.compact[index] === 1;
  const body = plan.xattrs.bodies.get(node);
  const data = plan.data.get(index);
  const layout = data?.kind === "chunks" ? LAYOUT.chunks : tail > 0 ? LAYOUT.inline : LAYOUT.plain;
  const { union, ino, uid, gid } = isCompact ? COMPACT : EXTENDED;
  image.writeUInt16LE((isCompact ? 0 : 1) | (layout << 1), at);
  image.writeUInt16LE(body === undefined ? 0 : 1 + (body.length - XATTR.header) / 4, at + 2);
  image.writeUInt16LE(KIND[node.kind].mode | node.mode, at + 4);
  image.writeUInt32LE(unionOf(plan, node, index), at + union);
  image.writeUInt32LE(index + 1, at + ino);
  if (isCompact) {
    image.writeUInt16LE(walk.links[index] ?? 0, at + COMPACT.nlink);
    image.writeUInt32LE(size, at + COMPACT.length);
    image.writeUInt16LE(node.uid, at + uid);
    image.writeUInt16LE(node.gid, at + gid);
  } else {
    image.writeBigUInt64LE(BigInt(size), at + EXTENDED.length);
    image.writeUInt32LE(node.uid, at + uid);
    image.writeUInt32LE(node.gid, at + gid);
    image.writeBigInt64LE(BigInt(node.mtime.seconds), at + EXTENDED.mtime);
    image.writeUInt32LE(node.mtime.nanoseconds, at + EXTENDED.nanoseconds);
    image.writeUInt32LE(walk.links[index] ?? 0, at + EXTENDED.nlink);
  }
  let end = at + (isCompact ? COMPACT.size : EXTENDED.size);
  if (body !== undefined) {
    image.set(body, end);
    end += body.length;
  }
  if (data?.kind === "chunks") writeChunks(image, alignUp(end, CHUNK.size), data, plan);
  if (data?.kind === "flat") image.set(data.tail, end);
  const blocks = (inodes.blocks[index] ?? 0) * BLOCK;
  if (node.kind === "directory") writeDirectory(image, plan, index, blocks, end);
  if (node.kind === "symlink") {
    const target = bytesOf(node.target);
    target.copy(image, blocks, 0, size - tail);
    target.copy(image, end, size - tail);
  }
}

/** The word of an inode that means something else for each kind: where the data is, or which device it stands for. */
function unionOf(plan: Plan, node: Node, index: number): number {
  const data = plan.data.get(index);
  if (data?.kind === "chunks") return CHUNK.indexes | data.bits;
  if (data?.kind === "flat") {
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

function writeChunks(image: Buffer, start: number, data: ChunkPlan, plan: Plan): void {
  const step = chunkSize(data.bits);
  let run = 0;
  for (let i = 0; i < data.count; i++) {
    const at = i * step;
    while ((data.runs[run]?.end ?? Infinity) <= at) run++;
    const found = data.runs[run];
    const entry = start + i * CHUNK.size;
    if (found === undefined || found.at > at) {
      image.writeUInt32LE(CHUNK.hole, entry + CHUNK.block);
      continue;
    }
    image.writeUInt16LE(plan.devices.get(found.blob)?.id ?? 0, entry + CHUNK.device);
    image.writeUInt32LE((found.offset + at - found.at) / BLOCK, entry + CHUNK.block);
  }
}

/** Each block: the entries, then their names. The last may be inline, at `inline`. */
function writeDirectory(image: Buffer, plan: Plan, index: number, blocks: number, inline: number): void {
  const { walk, inodes } = plan;
  const cuts = directoryBlocks(walk, index);
  const end = (walk.firstEntry[index] ?? 0) + (walk.entryCount[index] ?? 0);
  for (const [i, { from }] of cuts.entries()) {
    const until = cuts[i + 1]?.from ?? end;
    const isInline = i === cuts.length - 1 && (inodes.tails[index] ?? 0) > 0;
    const start = isInline ? inline : blocks + i * BLOCK;
    let nameOffset = (until - from) * DIRENT.size;
    for (let entry = from; entry < until; entry++) {
      const at = start + (entry - from) * DIRENT.size;
      const child = walk.children[entry] ?? 0;
      const kind = walk.nodes[child]?.kind ?? "file";
      image.writeUInt32LE((inodes.positions[child] ?? 0) / SLOT, at);
      image.writeUInt16LE(nameOffset, at + DIRENT.nameOffset);
      image.writeUInt8(KIND[kind].type, at + DIRENT.type);
      walk.names.copy(image, start + nameOffset, walk.nameStarts[entry], walk.nameStarts[entry + 1]);
      nameOffset += walk.nameLength(entry);
    }
  }
}
