import { isUtf8 } from "node:buffer";

/**
 * File names are bytes, and JavaScript strings are not. A name that is UTF-8 becomes the usual string; each byte that is
 * not becomes one lone surrogate U+DC80..U+DCFF (Python's `surrogateescape`), so that every name survives the round trip.
 */
export function nameOf(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (isUtf8(buffer)) return buffer.toString("utf8");
  let name = "";
  let at = 0;
  while (at < buffer.length) {
    const end = validUntil(buffer, at);
    if (end > at) name += buffer.toString("utf8", at, end);
    if (end < buffer.length) name += String.fromCharCode(0xdc00 + buffer.readUInt8(end));
    at = end + 1;
  }
  return name;
}

/** The bytes of a name made by {@link nameOf}. */
export function bytesOf(name: string): Buffer {
  if (name.isWellFormed()) return Buffer.from(name, "utf8");
  const parts: Buffer[] = [];
  let from = 0;
  for (let i = 0; i < name.length; i++) {
    const unit = name.charCodeAt(i);
    if (unit >= 0xd800 && unit < 0xdc00) i++;
    else if (unit >= 0xdc80 && unit <= 0xdcff) {
      parts.push(Buffer.from(name.slice(from, i), "utf8"), Buffer.of(unit - 0xdc00));
      from = i + 1;
    }
  }
  parts.push(Buffer.from(name.slice(from), "utf8"));
  return Buffer.concat(parts);
}

/** The end of the longest valid UTF-8 run that starts at `from`. */
function validUntil(buffer: Buffer, from: number): number {
  let at = from;
  while (at < buffer.length) {
    const lead = buffer.readUInt8(at);
    const length = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
    if (length === 0 || at + length > buffer.length || !isUtf8(buffer.subarray(at, at + length))) return at;
    at += length;
  }
  return at;
}
