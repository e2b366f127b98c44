import { bytesOf, nameOf } from "#base";
import type { Time } from "./entry.ts";
import { broken } from "./limits.ts";

/** Records of extended headers. Later ones override earlier ones, and an empty value takes a record back. */
export interface PaxRecords {
  readonly values: Map<string, Buffer>;
  /** `GNU.sparse.offset` and `GNU.sparse.numbytes` of sparse format 0.0, which repeats its keywords. */
  readonly sparse: number[];
}

export function noRecords(): PaxRecords {
  return { values: new Map(), sparse: [] };
}

/**
 * Adds the records of one extended header: `LENGTH KEYWORD=VALUE\n`. POSIX.1-2017, pax, "pax Extended Header". Values are
 * copied, because `body` may be a view of a sliding buffer.
 */
export function addRecords(records: PaxRecords, body: Buffer, offset: number): void {
  let at = 0;
  while (at < body.length) {
    if (body[at] === 0) return; // Some writers pad the body itself.
    const space = body.indexOf(0x20, at);
    const digits = space < 0 ? "" : body.toString("latin1", at, Math.min(space, at + 11));
    const end = at + Number(digits);
    if (!/^[0-9]+$/.test(digits) || end <= space + 1 || end > body.length || body[end - 1] !== 0x0a)
      throw broken("an extended header has a record of a wrong length", offset + at);
    const equals = body.indexOf(0x3d, space + 1);
    if (equals < 0 || equals >= end) throw broken("an extended header has a record without =", offset + at);
    const key = nameOf(body.subarray(space + 1, equals));
    const value = Buffer.from(body.subarray(equals + 1, end - 1));
    if (key === "GNU.sparse.offset" || key === "GNU.sparse.numbytes")
      addSparse(records.sparse, key, value, offset + at);
    else records.values.set(key, value);
    at = end;
  }
}

function addSparse(sparse: number[], key: string, value: Buffer, offset: number): void {
  const isOffset = key === "GNU.sparse.offset";
  if (isOffset !== (sparse.length % 2 === 0)) throw broken("a sparse map misses an offset or a length", offset);
  sparse.push(parseNatural(value, key, offset));
}

/** A natural number in decimal, safe to count with. */
export function parseNatural(value: Buffer, key: string, offset: number): number {
  const text = value.toString("latin1", 0, 20);
  const number = Number(text);
  if (value.length > 20 || !/^[0-9]+$/.test(text) || !Number.isSafeInteger(number))
    throw broken(`${key} is not a usable number`, offset);
  return number;
}

/** `-1.25` is 1.25 s before the epoch: -2 s and 750,000,000 ns. What is finer than a nanosecond is cut. */
export function parseTime(value: Buffer, offset: number): Time {
  const match = value.length > 64 ? null : /^(-?)([0-9]+)(?:\.([0-9]*))?$/.exec(value.toString("latin1"));
  const whole = Number(match?.[2]);
  if (match === null || !Number.isSafeInteger(whole)) throw broken("mtime is not a usable time", offset);
  const nanoseconds = Number((match[3] ?? "").slice(0, 9).padEnd(9, "0"));
  if (match[1] !== "-") return { seconds: whole, nanoseconds };
  return nanoseconds === 0
    ? { seconds: 0 - whole, nanoseconds }
    : { seconds: -whole - 1, nanoseconds: 1_000_000_000 - nanoseconds };
}

const NONE: ReadonlyMap<string, Uint8Array> = new Map();
const SCHILY = "SCHILY.xattr.";
const LIBARCHIVE = "LIBARCHIVE.xattr.";
const SELINUX = "RHT.security.selinux";

/** Extended attributes as star, GNU and Go write them, as libarchive does, and GNU's label of SELinux. Without any, what is inherited itself. */
export function xattrsOf(
  { values }: PaxRecords,
  inherited: ReadonlyMap<string, Uint8Array> = NONE,
): ReadonlyMap<string, Uint8Array> {
  let xattrs: Map<string, Uint8Array> | undefined;
  for (const [key, value] of values) {
    if (key.startsWith(SCHILY)) {
      const name = key.slice(SCHILY.length);
      // libarchive writes each attribute in both ways, and escapes its name in both.
      if (!values.has(LIBARCHIVE + name)) (xattrs ??= new Map(inherited)).set(gnuDecoded(name), value);
    } else if (key.startsWith(LIBARCHIVE)) {
      const name = percentDecoded(key.slice(LIBARCHIVE.length));
      (xattrs ??= new Map(inherited)).set(name, Buffer.from(value.toString("latin1"), "base64"));
    } else if (key === SELINUX && !values.has(`${SCHILY}security.selinux`))
      (xattrs ??= new Map(inherited)).set("security.selinux", value);
  }
  return xattrs ?? inherited;
}

/** GNU tar escapes what would end a keyword, and the sign that it escapes with. */
function gnuDecoded(name: string): string {
  return name.includes("%") ? name.replaceAll("%3D", "=").replaceAll("%25", "%") : name;
}

function percentDecoded(name: string): string {
  if (!name.includes("%")) return name;
  const bytes = bytesOf(name).toString("latin1");
  const decoded = bytes.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return nameOf(Buffer.from(decoded, "latin1"));
}
