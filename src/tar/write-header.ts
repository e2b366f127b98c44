import { bytesOf } from "#base";
import type { TarEntry } from "./entry.ts";
import { BLOCK } from "./header.ts";

const TYPEFLAGS: Readonly<Record<TarEntry["type"], string>> = {
  file: "0",
  hardlink: "1",
  symlink: "2",
  char: "3",
  block: "4",
  directory: "5",
  fifo: "6",
};
const MAX_ID = 0o7777777;
const MAX_SIZE = 0o77777777777;
const NAME = 100;

/** What `tarHeader` needs of an entry. */
export type TarHeader = Omit<TarEntry, "extents">;

/** The two zero blocks that end an archive. */
export const TAR_END: Uint8Array = new Uint8Array(2 * BLOCK);

/** The zeros that follow `size` bytes of data. */
export function tarPadding(size: number): Uint8Array {
  return new Uint8Array((BLOCK - (size % BLOCK)) % BLOCK);
}

/**
 * The blocks that go before a member's data: a ustar header, and before it a PAX header where ustar has no room for what the entry
 * says. The same entry gives the same bytes.
 */
export function tarHeader(entry: TarHeader): Uint8Array {
  const records = recordsOf(entry);
  const header = ustar(entry, bytesOf(entry.path), TYPEFLAGS[entry.type], entry.size);
  if (records.length === 0) return header;
  const body = Buffer.concat(records);
  const name = bytesOf(`PaxHeaders/${entry.path.split("/").findLast((part) => part !== "") ?? ""}`);
  const plain = { ...entry, mode: 0o644, linkname: "", devmajor: 0, devminor: 0 };
  return Buffer.concat([ustar(plain, name, "x", body.length), body, tarPadding(body.length), header]);
}

function recordsOf(entry: TarHeader): Buffer[] {
  const records: Buffer[] = [];
  const add = (key: string, value: Uint8Array | string): void => {
    records.push(record(key, Buffer.from(value as Uint8Array)));
  };
  const { uid, gid, size, mtime } = entry;
  const path = bytesOf(entry.path);
  const linkname = bytesOf(entry.linkname);
  if (path.length > NAME || !isAscii(path)) add("path", path);
  if (linkname.length > NAME || !isAscii(linkname)) add("linkpath", linkname);
  if (uid > MAX_ID) add("uid", String(uid));
  if (gid > MAX_ID) add("gid", String(gid));
  if (size > MAX_SIZE) add("size", String(size));
  if (mtime.nanoseconds !== 0 || mtime.seconds < 0 || mtime.seconds > MAX_SIZE) add("mtime", formatTime(entry));
  // As GNU tar escapes them: = would end the keyword.
  for (const [name, value] of entry.xattrs)
    add(`SCHILY.xattr.${name.replaceAll("%", "%25").replaceAll("=", "%3D")}`, value);
  return records;
}

/** Seconds and nanoseconds as a decimal: -2 s and 750,000,000 ns is -1.25. */
function formatTime({ mtime: { seconds, nanoseconds } }: TarHeader): string {
  const isBefore = seconds < 0 && nanoseconds > 0;
  const whole = isBefore ? seconds + 1 : seconds;
  const fraction = isBefore ? 1_000_000_000 - nanoseconds : nanoseconds;
  const sign = isBefore && whole === 0 ? "-" : "";
  return `${sign}${whole}.${String(fraction).padStart(9, "0")}`;
}

/** `LENGTH KEYWORD=VALUE\n`, where the length counts its own digits. */
function record(key: string, value: Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(" "), bytesOf(key), Buffer.from("="), value, Buffer.from("\n")]);
  let length = rest.length;
  while (length !== rest.length + String(length).length) length = rest.length + String(length).length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

function ustar(entry: TarHeader, name: Buffer, typeflag: string, size: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, digits: number): void => {
    block.write(Math.max(0, value).toString(8).padStart(digits, "0"), at, "latin1");
  };
  name.copy(block, 0, 0, NAME);
  octal(entry.mode, 100, 7);
  octal(entry.uid > MAX_ID ? 0 : entry.uid, 108, 7);
  octal(entry.gid > MAX_ID ? 0 : entry.gid, 116, 7);
  octal(size > MAX_SIZE ? 0 : size, 124, 11);
  octal(entry.mtime.seconds > MAX_SIZE ? 0 : entry.mtime.seconds, 136, 11);
  block.write(typeflag, 156, "latin1");
  bytesOf(entry.linkname).copy(block, 157, 0, NAME);
  block.write("ustar\x0000", 257, "latin1");
  octal(entry.devmajor, 329, 7);
  octal(entry.devminor, 337, 7);
  block.fill(" ", 148, 156);
  octal(
    block.reduce((sum, byte) => sum + byte, 0),
    148,
    6,
  );
  block[154] = 0;
  return block;
}

function isAscii(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte < 0x80);
}
