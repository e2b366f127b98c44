import { nameOf } from "#base";
import { broken } from "./limits.ts";

export const BLOCK = 512;

/** The fields of a header block, by offset and length. POSIX.1-2017, pax, "ustar Interchange Format". */
const FIELDS = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  linkname: [157, 100],
  devmajor: [329, 8],
  devminor: [337, 8],
} as const;
export type NumberField = "mode" | "uid" | "gid" | "size" | "mtime" | "devmajor" | "devminor";

const CHECKSUM = 148;
const TYPEFLAG = 156;
const PREFIX = 345;
const SPACE = 0x20;

/** True for a block of zeros: half of the end of an archive. */
export function isZero(block: Uint8Array): boolean {
  for (let i = 0; i < block.length; i++) if (block[i] !== 0) return false;
  return true;
}

/** True when the stored sum is that of the block, with bytes counted unsigned (POSIX) or signed (old Sun and GNU tars). */
export function checksumFits(block: Buffer): boolean {
  const stored = octal(block, CHECKSUM, 8);
  if (stored === undefined) return false;
  // The sum counts its own field as spaces.
  let sum = 8 * SPACE;
  for (let i = 0; i < CHECKSUM; i++) sum += block[i] as number;
  for (let i = CHECKSUM + 8; i < BLOCK; i++) sum += block[i] as number;
  return stored === sum || stored === sum - 256 * highBytes(block);
}

function highBytes(block: Buffer): number {
  let high = 0;
  for (let i = 0; i < BLOCK; i++) if ((i < CHECKSUM || i >= CHECKSUM + 8) && (block[i] as number) > 0x7f) high++;
  return high;
}

/**
 * Whether a blob that begins with these bytes (512 at least) is a tar: the checksum of the first header says so, whatever the
 * magic. A tar of nothing but zeros is not recognized.
 */
export function looksLikeTar(start: Uint8Array): boolean {
  if (start.length < BLOCK) return false;
  const block = Buffer.from(start.buffer, start.byteOffset, BLOCK);
  if (block[0] === 0 && !/[xgXLK]/.test(typeflagOf(block))) return false;
  return checksumFits(block) && octal(block, ...FIELDS.mode) !== undefined;
}

export function typeflagOf(block: Buffer): string {
  return String.fromCharCode(block.readUInt8(TYPEFLAG));
}

export function isGnu(block: Buffer): boolean {
  return block.toString("latin1", 257, 265) === "ustar  \0";
}

/** The name, joined with the ustar prefix where the format has one. */
export function pathOf(block: Buffer): string {
  const name = text(block, ...FIELDS.name);
  if (block.toString("latin1", 257, 263) !== "ustar\0" || block[PREFIX] === 0) return name;
  // star's own format keeps times in the last 24 bytes of the prefix and says so behind them.
  const isStar = block.toString("latin1", 508, 512) === "tar\0";
  const prefix = text(block, PREFIX, isStar ? 131 : 155);
  return prefix === "" ? name : `${prefix}/${name}`;
}

export function linknameOf(block: Buffer): string {
  return text(block, ...FIELDS.linkname);
}

/** @throws Failure INVALID_TAR naming field and offset. */
export function numberOf(block: Buffer, field: NumberField, offset: number): number {
  const [at, length] = FIELDS[field];
  return numeric(block, at, length, field, offset);
}

/** A number in octal, or in base 256 (GNU and star: two's complement, big endian, first bit set). */
export function numeric(block: Buffer, at: number, length: number, field: string, offset: number): number {
  const lead = block.readUInt8(at);
  const value = lead & 0x80 ? base256(block, at, length) : octal(block, at, length);
  if (value === undefined || !Number.isSafeInteger(value))
    throw broken(`field ${field} is not a usable number`, offset);
  return value;
}

/** Octal digits, after spaces or NULs and before one of them; nothing at all is 0. */
function octal(block: Buffer, at: number, length: number): number | undefined {
  const end = at + length;
  let i = at;
  while (i < end && (block[i] === SPACE || block[i] === 0)) i++;
  let value = 0;
  for (; i < end; i++) {
    const digit = (block[i] as number) - 0x30;
    if (digit < 0 || digit > 7) break;
    value = value * 8 + digit;
  }
  while (i < end && block[i] === SPACE) i++;
  return i === end || block[i] === 0 ? value : undefined;
}

function base256(block: Buffer, at: number, length: number): number {
  const negative = (block.readUInt8(at) & 0x40) !== 0;
  // The first bit only marks the encoding: the number's own sign is the second.
  let value = negative ? (block.readUInt8(at) & 0x7f) - 0x80 : block.readUInt8(at) & 0x7f;
  for (let i = at + 1; i < at + length; i++) value = value * 256 + block.readUInt8(i);
  return value;
}

function text(block: Buffer, at: number, length: number): string {
  const end = block.indexOf(0, at);
  return nameOf(block.subarray(at, end < 0 || end > at + length ? at + length : end));
}
