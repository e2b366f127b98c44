import { nameOf } from "#base";
import type { TarBytes, TarEntry, TarExtent, Time } from "./entry.ts";
import { BLOCK, checksumFits, Header, isZero, type NumberField } from "./header.ts";
import { beyond, broken, TAR_LIMITS, type TarLimits } from "./limits.ts";
import { addRecords, noRecords, parseNatural, parseTime, xattrsOf, type PaxRecords } from "./pax.ts";
import { extentsOf, readOldGnu, readPaxSparse, type SparseMap } from "./sparse.ts";
import { Window } from "./window.ts";

/** What the headers before a member say of it. */
interface Pending {
  readonly pax: PaxRecords;
  longName: string | undefined;
  longLink: string | undefined;
}

/** What global headers say of all members that follow. */
interface Globals {
  readonly values: Map<string, Buffer>;
  xattrs: ReadonlyMap<string, Uint8Array>;
}

const TYPES: Readonly<Record<string, TarEntry["type"]>> = {
  "1": "hardlink",
  "2": "symlink",
  "3": "char",
  "4": "block",
  "5": "directory",
  "6": "fifo",
  D: "directory",
};
type Mutable<T> = { -readonly [K in keyof T]: T[K] };

const NO_EXTENTS: readonly TarExtent[] = [];
/** What a piece of a sparse file and an attribute cost at least, in bytes. */
const PIECE = 24;
const ATTRIBUTE = 64;

/**
 * The members of a plain (not compressed) tar, in the archive's order: v7, ustar, star, GNU and PAX, with long names, sparse
 * files, base-256 numbers and extended attributes. File data is skipped, never read. Where the two zero blocks at the end are
 * missing, or junk follows them, the archive ends as it does for GNU tar.
 *
 * @throws Failure INVALID_TAR for a broken or truncated archive, TAR_LIMIT for one beyond `limits`; both name the offset.
 */
export function* readTar(bytes: TarBytes, limits: Partial<TarLimits> = {}): Generator<TarEntry, void, void> {
  const most = { ...TAR_LIMITS, ...limits };
  const window = new Window(bytes);
  const globals: Globals = { values: new Map(), xattrs: new Map() };
  let pending = nothing();
  let isPending = false;
  let count = 0;
  let metadata = 0;
  let offset = 0;

  while (offset < window.size) {
    const at = window.seek(offset, BLOCK);
    if (isZero(window.buffer, at, Math.min(BLOCK, window.size - offset))) break;
    if (window.size - offset < BLOCK) throw broken("it ends inside a header", offset);
    if (!checksumFits(window.buffer, at))
      throw broken(offset === 0 ? "it is no tar" : "a header has a wrong checksum", offset);

    const header = new Header(window.buffer, at, offset);
    const type = header.typeflag;
    if ("xXgLKN".includes(type)) {
      const body = offset + BLOCK;
      const size = header.number("size");
      if (size < 0) throw broken("an extended header has a negative size", offset);
      if (size > most.header) throw beyond(`an extended header has ${size} bytes, more than ${most.header}`, offset);
      if (body + size > window.size) throw broken("it ends inside an extended header", offset);
      metadata += size;
      const content = window.view(body, size);
      if (type === "g") metadata += addGlobals(globals, content, body);
      else if (type === "x" || type === "X") addRecords(pending.pax, content, body);
      else if (type === "L") pending.longName = untilNul(content);
      else if (type === "K") pending.longLink = untilNul(content);
      isPending = true;
      offset = padded(body + size);
    } else {
      const member = readMember(window, header, type, globals, isPending ? pending : undefined, most);
      if (isPending) [pending, isPending] = [nothing(), false];
      if (member.end > window.size)
        throw broken(
          `it ends at ${window.size}, inside the data of ${JSON.stringify(member.entry?.path.slice(0, 200))}`,
          offset,
        );
      offset = padded(member.end);
      const { entry } = member;
      if (entry === undefined) continue;
      metadata += entry.path.length + entry.linkname.length + PIECE * entry.extents.length;
      if (entry.xattrs !== globals.xattrs) metadata += ATTRIBUTE * entry.xattrs.size;
      if (++count > most.entries) throw beyond(`it has more than ${most.entries} members`, offset);
      yield entry;
    }
    if (metadata > most.metadata)
      throw beyond(`its names and attributes need more than ${most.metadata} bytes`, offset);
  }
  if (isPending && pending.longName !== undefined) throw broken("it ends behind a long name", offset);
}

/** What the members that follow inherit, and what that costs: each header makes a new map, which members may hold on to. */
function addGlobals(globals: Globals, content: Buffer, offset: number): number {
  const records = noRecords();
  addRecords(records, content, offset);
  for (const [key, value] of records.values) globals.values.set(key, value);
  const xattrs = xattrsOf(records, globals.xattrs);
  if (xattrs === globals.xattrs) return 0;
  globals.xattrs = xattrs;
  return ATTRIBUTE * xattrs.size;
}

function readMember(
  window: Window,
  header: Header,
  type: string,
  globals: Globals,
  pending: Pending | undefined,
  limits: TarLimits,
): { readonly entry: TarEntry | undefined; readonly end: number } {
  const { offset } = header;
  // GNU's volume labels name no file.
  if (type === "V") return { entry: undefined, end: offset + BLOCK };
  if (type === "M") throw broken("it is a later volume of an archive; only whole archives can be used", offset);

  const record = (key: string): Buffer | undefined => {
    const value = pending?.pax.values.get(key) ?? globals.values.get(key);
    return value === undefined || value.length === 0 ? undefined : value;
  };
  const number = (field: NumberField, key: string): number => {
    const value = record(key);
    return value === undefined ? header.number(field) : parseNatural(value, key, offset);
  };
  const recordPath = record("GNU.sparse.name") ?? record("path");
  const path = recordPath === undefined ? (pending?.longName ?? header.path) : nameOf(recordPath);
  // v7 had no directories: a file whose name ends in a slash is one.
  const kind = type === "\0" && path.endsWith("/") ? "directory" : (TYPES[type] ?? "file");
  const recordLink = record("linkpath");
  const isLink = kind === "hardlink" || kind === "symlink";
  const isDevice = kind === "char" || kind === "block";
  // In GNU's incremental dumps a directory has data, the names in it.
  const stored = kind === "file" || type === "D" ? number("size", "size") : 0;
  if (stored < 0) throw broken("a member has a negative size", offset);
  // The whole header is read before the data is looked at: what a sparse file has there may slide the window.
  const body = offset + BLOCK;
  const entry: Mutable<TarEntry> = {
    path,
    type: kind,
    mode: header.number("mode") & 0o7777,
    uid: number("uid", "uid"),
    gid: number("gid", "gid"),
    mtime: timeOf(record("mtime"), header),
    size: kind === "file" ? stored : 0,
    extents: kind === "file" && stored > 0 ? [{ at: 0, offset: body, length: stored }] : NO_EXTENTS,
    linkname: !isLink ? "" : recordLink === undefined ? (pending?.longLink ?? header.linkname) : nameOf(recordLink),
    devmajor: isDevice ? number("devmajor", "SCHILY.devmajor") : 0,
    devminor: isDevice ? number("devminor", "SCHILY.devminor") : 0,
    xattrs: pending === undefined ? globals.xattrs : xattrsOf(pending.pax, globals.xattrs),
  };
  const end = body + stored;
  if (kind !== "file" || end > window.size) return { entry, end };
  const sparse = readSparse(window, header, type, stored, pending, limits);
  if (sparse === undefined) return { entry, end };
  if (sparse.realSize < 0) throw broken("a sparse file has a negative size", offset);
  entry.size = sparse.realSize;
  entry.extents = extentsOf(sparse);
  return { entry, end: sparse.end };
}

function readSparse(
  window: Window,
  header: Header,
  type: string,
  stored: number,
  pending: Pending | undefined,
  limits: TarLimits,
): SparseMap | undefined {
  if (type === "S" && header.isGnu) return readOldGnu(window, header, stored, limits);
  return pending && readPaxSparse(window, pending.pax, header.offset + BLOCK, stored, limits);
}

function timeOf(record: Buffer | undefined, header: Header): Time {
  return record === undefined ? { seconds: header.number("mtime"), nanoseconds: 0 } : parseTime(record, header.offset);
}

function nothing(): Pending {
  return { pax: noRecords(), longName: undefined, longLink: undefined };
}

function untilNul(content: Buffer): string {
  const end = content.indexOf(0);
  return nameOf(end < 0 ? content : content.subarray(0, end));
}

function padded(offset: number): number {
  return Math.ceil(offset / BLOCK) * BLOCK;
}
