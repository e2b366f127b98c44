import { nameOf } from "#base";
import { broken } from "./limits.ts";

export const BLOCK = 512;

/** The numbers of a header block, by offset and length. POSIX.1-2017, pax, "ustar Interchange Format". */
const NUMBERS = {
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  checksum: [148, 8],
  devmajor: [329, 8],
  devminor: [337, 8],
} as const;
export type NumberField = Exclude<keyof typeof NUMBERS, "checksum">;

const [CHECKSUM] = NUMBERS.checksum;
const TYPEFLAG = 156;
const MAGIC = 257;
const PREFIX = 345;
const SPACE = 0x20;

/** One header block inside a bigger buffer: nothing is copied or decoded before it is asked for. */
export class Header {
  readonly buffer: Buffer;
  /** Where in `buffer` the block begins. */
  readonly at: number;
  /** Where in the archive it begins, for messages. */
  readonly offset: number;

  constructor(buffer: Buffer, at: number, offset: number) {
    this.buffer = buffer;
    this.at = at;
    this.offset = offset;
  }

  get typeflag(): string {
    return String.fromCharCode(this.byte(TYPEFLAG));
  }

  get isGnu(): boolean {
    return this.#magic(8) === "ustar  \0";
  }

  /** The name, joined with the ustar prefix where the format has one. */
  get path(): string {
    const name = this.#text(0, 100);
    if (this.byte(PREFIX) === 0 || this.#magic(6) !== "ustar\0") return name;
    // star's own format keeps times in the last 24 bytes of the prefix and says so behind them.
    const isStar = this.buffer.toString("latin1", this.at + 508, this.at + 512) === "tar\0";
    return `${this.#text(PREFIX, isStar ? 131 : 155)}/${name}`;
  }

  get linkname(): string {
    return this.#text(157, 100);
  }

  /** @throws Failure INVALID_TAR naming field and offset. */
  number(field: NumberField): number {
    const [at, length] = NUMBERS[field];
    return numeric(this.buffer, this.at + at, length, field, this.offset);
  }

  byte(at: number): number {
    return this.buffer[this.at + at] ?? 0;
  }

  #magic(length: number): string {
    return this.buffer.toString("latin1", this.at + MAGIC, this.at + MAGIC + length);
  }

  #text(from: number, length: number): string {
    const start = this.at + from;
    let end = start;
    let bits = 0;
    for (; end < start + length; end++) {
      const byte = this.buffer[end] as number;
      if (byte === 0) break;
      bits |= byte;
    }
    return bits < 0x80 ? this.buffer.toString("latin1", start, end) : nameOf(this.buffer.subarray(start, end));
  }
}

/** True for zeros: half of the end of an archive. */
export function isZero(buffer: Buffer, at: number, length: number): boolean {
  for (let i = at; i < at + length; i++) if (buffer[i] !== 0) return false;
  return true;
}

/** True when the stored sum is the block's, its bytes counted unsigned (POSIX) or signed (old Sun and GNU tars). */
export function checksumFits(buffer: Buffer, at: number): boolean {
  const stored = octal(buffer, at + CHECKSUM, NUMBERS.checksum[1]);
  // The sum counts its own field as spaces.
  let sum = 8 * SPACE;
  for (let i = at; i < at + CHECKSUM; i++) sum += buffer[i] as number;
  for (let i = at + CHECKSUM + 8; i < at + BLOCK; i++) sum += buffer[i] as number;
  return stored === sum || stored === sum - 256 * highBytes(buffer, at);
}

function highBytes(buffer: Buffer, at: number): number {
  let high = 0;
  for (let i = 0; i < BLOCK; i++) if ((i < CHECKSUM || i >= CHECKSUM + 8) && (buffer[at + i] as number) > 0x7f) high++;
  return high;
}

/**
 * Whether a blob that begins with these bytes (512 at least) is a tar: the checksum of the first header says so, whatever the
 * magic. A tar of nothing but zeros is not recognized.
 */
export function looksLikeTar(start: Uint8Array): boolean {
  if (start.length < BLOCK) return false;
  const block = Buffer.from(start.buffer, start.byteOffset, BLOCK);
  if (block[0] === 0 && !/[xgXLK]/.test(new Header(block, 0, 0).typeflag)) return false;
  return checksumFits(block, 0) && octal(block, ...NUMBERS.mode) !== undefined;
}

/** A number in octal, or in base 256 (GNU and star: two's complement, big endian, first bit set). */
export function numeric(buffer: Buffer, at: number, length: number, field: string, offset: number): number {
  const isBase256 = ((buffer[at] as number) & 0x80) !== 0;
  const value = isBase256 ? base256(buffer, at, length) : octal(buffer, at, length);
  if (value === undefined || !Number.isSafeInteger(value))
    throw broken(`field ${field} is not a usable number`, offset);
  return value;
}

/** Octal digits, after spaces or NULs and before one of them; nothing at all is 0. */
function octal(buffer: Buffer, at: number, length: number): number | undefined {
  const end = at + length;
  let i = at;
  while (i < end && (buffer[i] === SPACE || buffer[i] === 0)) i++;
  let value = 0;
  for (; i < end; i++) {
    const digit = (buffer[i] as number) - 0x30;
    if (digit < 0 || digit > 7) break;
    value = value * 8 + digit;
  }
  while (i < end && buffer[i] === SPACE) i++;
  return i === end || buffer[i] === 0 ? value : undefined;
}

function base256(buffer: Buffer, at: number, length: number): number {
  const lead = (buffer[at] as number) & 0x7f;
  // The first bit only marks the encoding: the number's own sign is the second.
  let value = (lead & 0x40) === 0 ? lead : lead - 0x80;
  for (let i = at + 1; i < at + length; i++) value = value * 256 + (buffer[i] as number);
  return value;
}
