import { createGunzip, createZstdDecompress } from "node:zlib";

export type Compression = "gzip" | "zstd" | "none";

/** Enough of a blob's beginning to tell what it is, compressed or not: more than one block of zstd. Bytes. */
export const HEAD = 256 * 1024;

/** What a blob is, by its first bytes: media types lie. RFC 1952 §2.3.1, RFC 8878 §3.1 (skippable frames included). */
export function compressionOf(head: Uint8Array): Compression {
  const [a, b, c, d] = head;
  if (a === 0x1f && b === 0x8b) return "gzip";
  if (a === 0x28 && b === 0xb5 && c === 0x2f && d === 0xfd) return "zstd";
  if (a !== undefined && (a & 0xf0) === 0x50 && b === 0x2a && c === 0x4d && d === 0x18) return "zstd";
  return "none";
}

/** The first plain bytes behind a beginning of compressed ones: 512 or more where there are as many. Never throws. */
export async function inflateHead(head: Uint8Array, compression: Compression): Promise<Uint8Array> {
  if (compression === "none") return head;
  const stream = compression === "gzip" ? createGunzip() : createZstdDecompress();
  const chunks: Uint8Array[] = [];
  let length = 0;
  // The beginning breaks off in the middle, which the stream calls an error at the end.
  stream.end(head);
  try {
    for await (const chunk of stream as AsyncIterable<Uint8Array>) {
      chunks.push(chunk);
      length += chunk.length;
      if (length >= 512) break;
    }
  } catch {
    // What came before is what we wanted.
  }
  return Buffer.concat(chunks);
}
