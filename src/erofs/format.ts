// The on-disk format, as far as Orlop writes and reads it. All numbers are little endian.
// Linux, Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h.

/** Blocks of 512 bytes, so that the files inside a tar begin on one. */
export const BLOCK_BITS = 9;
export const BLOCK = 1 << BLOCK_BITS;

/** The number of an inode (its nid) is its position in these. */
export const SLOT = 32;

export const SUPER = {
  at: 1024,
  size: 128,
  magic: 0xe0f5e1e2,
  checksum: 4,
  featureCompat: 8,
  blockBits: 12,
  rootNid: 14,
  inodes: 16,
  epoch: 24,
  fixedNsec: 32,
  blocks: 36,
  metaBlock: 40,
  xattrBlock: 44,
  uuid: 48,
  featureIncompat: 80,
  extraDevices: 86,
  deviceTableSlot: 88,
} as const;

export const FEATURE = { checksum: 1, mtime: 2, chunkedFile: 4, deviceTable: 8 } as const;

/**
 * One entry of the device table: a tag of 64 bytes, the device's blocks, and where it lies in the one address space that flat files
 * use (0: it does not).
 */
export const DEVICE = { size: 128, tag: 64, blocks: 64, unified: 68 } as const;

export const COMPACT = { size: 32, nlink: 6, length: 8, union: 16, ino: 20, uid: 24, gid: 26 } as const;
export const EXTENDED = {
  size: 64,
  length: 8,
  union: 16,
  ino: 20,
  uid: 24,
  gid: 28,
  mtime: 32,
  nanoseconds: 40,
  nlink: 44,
} as const;

export const LAYOUT = { plain: 0, inline: 2, chunks: 4 } as const;

/** Chunks are given by 8-byte indexes: two reserved bytes, the device from 1 on, the block in it. */
export const CHUNK = { bits: 0x1f, indexes: 0x20, size: 8, device: 2, block: 4, hole: 0xffffffff } as const;
/** Largest chunk: 2^31 blocks. */
export const CHUNK_BITS_LIMIT = 31;

export const DIRENT = { size: 12, nameOffset: 8, type: 10 } as const;
export const NAME_LIMIT = 255;
/** PATH_MAX without its NUL: no system call returns more of a link's target. */
export const TARGET_LIMIT = 4095;

export const XATTR = { header: 12, sharedCount: 4, entry: 4, valueLimit: 0xffff, bodyLimit: 12 + 4 * 0xfffe } as const;

/** Namespaces of extended attributes, longest first: the prefix is kept as a number. */
export const XATTR_PREFIXES: readonly (readonly [prefix: string, index: number])[] = [
  ["system.posix_acl_default", 3],
  ["system.posix_acl_access", 2],
  ["security.", 6],
  ["trusted.", 4],
  ["user.", 1],
];

/** Type bits of st_mode, and the type of a directory entry. */
export const KIND = {
  fifo: { mode: 0o010000, type: 5 },
  char: { mode: 0o020000, type: 3 },
  directory: { mode: 0o040000, type: 2 },
  block: { mode: 0o060000, type: 4 },
  file: { mode: 0o100000, type: 1 },
  symlink: { mode: 0o120000, type: 7 },
  socket: { mode: 0o140000, type: 6 },
} as const;

export function alignUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}
