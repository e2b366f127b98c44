import { isFailure, nameOf } from "#base";
import { digestOf, type Digest } from "#oci";
import type { Extent, FileTree, Node } from "#tree";
import { crc32c } from "./crc32c.ts";
import { invalidImage, readDevices } from "./devices.ts";
import {
  BLOCK,
  BLOCK_BITS,
  CHUNK,
  COMPACT,
  DEVICE,
  DIRENT,
  EXTENDED,
  FEATURE,
  KIND,
  LAYOUT,
  SLOT,
  SUPER,
  XATTR,
  XATTR_PREFIXES,
  alignUp,
} from "./format.ts";

export interface DecodedImage {
  readonly tree: FileTree;
  /** The last bytes of files, which the image itself holds: the tree points at them as blobs of their own. */
  readonly tails: ReadonlyMap<Digest, Uint8Array>;
}

/**
 * Reads an image that {@link encodeErofs} wrote back into the tree: the same names, attributes, links and content. Extents may be
 * cut elsewhere, and the last bytes of some files are in `tails`.
 *
 * @throws Failure INVALID_IMAGE for what is damaged, and for features of EROFS that Orlop does not write.
 */
export function decodeErofs(image: Uint8Array): DecodedImage {
  try {
    return new Decoder(image).decode();
  } catch (error) {
    if (isFailure(error) || !(error instanceof RangeError)) throw error;
    throw invalidImage("something in it points outside of it");
  }
}

interface Inode {
  readonly at: number;
  readonly layout: number;
  readonly kind: keyof typeof KIND;
  readonly size: number;
  /** Block, device number or chunk format. */
  readonly union: number;
  /** Where the attributes end, and what is inline begins. */
  readonly end: number;
  readonly attributes: Pick<Node, "mode" | "uid" | "gid" | "mtime" | "xattrs">;
}

interface Slot {
  readonly blob: Digest;
  readonly blocks: number;
  readonly unified: number;
}

class Decoder {
  readonly #image: Buffer;
  readonly #slots: readonly Slot[];
  readonly #epoch: number;
  readonly #sharedXattrs: number;
  readonly #nodes = new Map<number, Node>();
  readonly #tails = new Map<Digest, Uint8Array>();
  readonly #pending: { readonly inode: Inode; readonly entries: Map<string, Node> }[] = [];

  constructor(bytes: Uint8Array) {
    const image = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const devices = readDevices(image);
    const table = image.readUInt16LE(SUPER.at + SUPER.deviceTableSlot) * DEVICE.size;
    this.#image = image;
    this.#slots = devices.map(({ digest, blocks }, i) => {
      return { blob: digest, blocks, unified: image.readUInt32LE(table + i * DEVICE.size + DEVICE.unified) };
    });
    const known = FEATURE.chunkedFile | FEATURE.deviceTable;
    if (image.readUInt8(SUPER.at + SUPER.blockBits) !== BLOCK_BITS)
      throw invalidImage(`its blocks have not ${BLOCK} bytes`);
    if ((image.readUInt32LE(SUPER.at + SUPER.featureIncompat) & ~known) !== 0)
      throw invalidImage("it uses features that Orlop does not write");
    const block = Buffer.from(image.subarray(SUPER.at, SUPER.at + BLOCK));
    block.writeUInt32LE(0, SUPER.checksum);
    if (crc32c(block) !== image.readUInt32LE(SUPER.at + SUPER.checksum))
      throw invalidImage("its superblock's checksum is another");
    this.#epoch = Number(image.readBigInt64LE(SUPER.at + SUPER.epoch));
    this.#sharedXattrs = image.readUInt32LE(SUPER.at + SUPER.xattrBlock) * BLOCK;
  }

  decode(): DecodedImage {
    const root = this.#node(this.#image.readUInt16LE(SUPER.at + SUPER.rootNid));
    if (root.kind !== "directory") throw invalidImage("its root is no directory");
    for (let next = this.#pending.pop(); next !== undefined; next = this.#pending.pop())
      for (const [name, nid] of this.#entriesOf(next.inode)) {
        if (name === "." || name === "..") continue;
        if (this.#nodes.get(nid)?.kind === "directory") throw invalidImage("a directory is in it twice");
        next.entries.set(name, this.#node(nid));
      }
    return { tree: { root }, tails: this.#tails };
  }

  #node(nid: number): Node {
    const known = this.#nodes.get(nid);
    if (known !== undefined) return known;
    const inode = this.#inode(nid);
    const node = this.#nodeOf(inode);
    this.#nodes.set(nid, node);
    return node;
  }

  #nodeOf(inode: Inode): Node {
    const { kind, attributes, size, union } = inode;
    if (kind === "directory") {
      const entries = new Map<string, Node>();
      this.#pending.push({ inode, entries });
      return { ...attributes, kind, entries };
    }
    if (kind === "file") return { ...attributes, kind, size, extents: this.#extentsOf(inode) };
    if (kind === "symlink") return { ...attributes, kind, target: nameOf(this.#dataOf(inode)) };
    if (kind === "fifo" || kind === "socket") return { ...attributes, kind };
    const [major, minor] = [(union >>> 8) & 0xfff, (union & 0xff) | ((union >>> 12) & 0xfff00)];
    return { ...attributes, kind, major, minor };
  }

  #inode(nid: number): Inode {
    const image = this.#image;
    const at = nid * SLOT;
    const format = image.readUInt16LE(at);
    const mode = image.readUInt16LE(at + 4);
    const kind = KINDS.get(mode & 0o170000);
    if (kind === undefined || format >> 4 !== 0) throw invalidImage(`inode ${nid} is of no known kind`);
    const isCompact = (format & 1) === 0;
    const { size, union, length, uid, gid } = isCompact ? COMPACT : EXTENDED;
    const number = isCompact ? "readUInt16LE" : "readUInt32LE";
    const xattrUnits = image.readUInt16LE(at + 2);
    const body = at + size;
    const end = xattrUnits === 0 ? body : body + XATTR.header + 4 * (xattrUnits - 1);
    return {
      at,
      kind,
      layout: format >> 1,
      size: isCompact ? image.readUInt32LE(at + length) : Number(image.readBigUInt64LE(at + length)),
      union: image.readUInt32LE(at + union),
      end,
      attributes: {
        mode: mode & 0o7777,
        uid: image[number](at + uid),
        gid: image[number](at + gid),
        mtime: isCompact
          ? { seconds: this.#epoch, nanoseconds: 0 }
          : {
              seconds: Number(image.readBigInt64LE(at + EXTENDED.mtime)),
              nanoseconds: image.readUInt32LE(at + EXTENDED.nanoseconds),
            },
        xattrs: body === end ? new Map() : this.#xattrs(body, end),
      },
    };
  }

  #xattrs(body: number, end: number): ReadonlyMap<string, Uint8Array> {
    const image = this.#image;
    const found = new Map<string, Uint8Array>();
    const add = (at: number): number => {
      const nameEnd = at + XATTR.entry + image.readUInt8(at);
      const prefix = XATTR_PREFIXES.find(([, index]) => index === image.readUInt8(at + 1))?.[0];
      const valueEnd = nameEnd + image.readUInt16LE(at + 2);
      if (prefix === undefined || valueEnd > image.length) throw invalidImage("an extended attribute is damaged");
      found.set(prefix + nameOf(image.subarray(at + XATTR.entry, nameEnd)), image.subarray(nameEnd, valueEnd));
      return alignUp(valueEnd, 4);
    };
    const shared = image.readUInt8(body + XATTR.sharedCount);
    for (let i = 0; i < shared; i++) add(this.#sharedXattrs + 4 * image.readUInt32LE(body + XATTR.header + 4 * i));
    for (let at = body + XATTR.header + 4 * shared; at < end;) at = add(at);
    return found;
  }

  /** The bytes of a directory or link. */
  #dataOf({ layout, size, union, end, at }: Inode): Buffer {
    const tail = layout === LAYOUT.inline ? size % BLOCK : 0;
    const blocks = union * BLOCK;
    const ends = Math.max(blocks + size - tail, end + tail);
    if ((layout !== LAYOUT.plain && layout !== LAYOUT.inline) || (size > tail && ends > this.#image.length))
      throw invalidImage(`the data of inode ${at / SLOT} is not in it`);
    return Buffer.concat([this.#image.subarray(blocks, blocks + size - tail), this.#image.subarray(end, end + tail)]);
  }

  *#entriesOf(inode: Inode): Iterable<readonly [name: string, nid: number]> {
    const data = this.#dataOf(inode);
    for (let start = 0; start < data.length; start += BLOCK) {
      const block = data.subarray(start, start + BLOCK);
      const count = block.readUInt16LE(DIRENT.nameOffset) / DIRENT.size;
      for (let i = 0; i < count; i++) {
        const at = i * DIRENT.size;
        const from = block.readUInt16LE(at + DIRENT.nameOffset);
        const until = i + 1 < count ? block.readUInt16LE(at + DIRENT.size + DIRENT.nameOffset) : block.length;
        const name = block.subarray(from, until);
        const nul = name.indexOf(0);
        yield [nameOf(nul < 0 ? name : name.subarray(0, nul)), Number(block.readBigUInt64LE(at))];
      }
    }
  }

  #extentsOf({ layout, size, union, end, at }: Inode): readonly Extent[] {
    if (size === 0) return [];
    if (layout === LAYOUT.chunks) return this.#chunksOf(alignUp(end, CHUNK.size), union & CHUNK.bits, size);
    const length = size - (size % BLOCK);
    const slot = this.#slots.find(({ unified, blocks }) => unified > 0 && union >= unified && union < unified + blocks);
    if (layout !== LAYOUT.inline || (length > 0 && slot === undefined))
      throw invalidImage(`the data of inode ${at / SLOT} is in none of its devices`);
    const bytes = this.#image.subarray(end, end + size - length);
    const blob = digestOf(bytes);
    this.#tails.set(blob, bytes);
    const last: Extent = { at: length, blob, offset: 0, length: size - length };
    if (slot === undefined || length === 0) return [last];
    return [{ at: 0, blob: slot.blob, offset: (union - slot.unified) * BLOCK, length }, last];
  }

  #chunksOf(table: number, bits: number, size: number): readonly Extent[] {
    const step = 2 ** (BLOCK_BITS + bits);
    const extents: Extent[] = [];
    for (let i = 0; i * step < size; i++) {
      const entry = table + i * CHUNK.size;
      const block = this.#image.readUInt32LE(entry + CHUNK.block);
      if (block === CHUNK.hole) continue;
      const slot = this.#slots[this.#image.readUInt16LE(entry + CHUNK.device) - 1];
      if (slot === undefined) throw invalidImage("a file lies in a device that it does not name");
      const length = Math.min(step, size - i * step);
      extents.push({ at: i * step, blob: slot.blob, offset: block * BLOCK, length });
    }
    return extents;
  }
}

const KINDS: ReadonlyMap<number, keyof typeof KIND> = new Map(
  Object.entries(KIND).map(([kind, { mode }]): [number, keyof typeof KIND] => [mode, kind as keyof typeof KIND]),
);
