import { digestOf } from "#oci";
import { encodeErofs } from "./encode.ts";

/** A tiny image, its one device, and what the file `name` of it must read: made to try out what a kernel can do. */
export interface SampleImage {
  readonly image: Uint8Array;
  readonly device: Uint8Array;
  readonly name: string;
  readonly content: Uint8Array;
}

/**
 * The file begins at byte 512 of the device, so that a kernel or disk that reads only whole pages or 4096-byte sectors shows.
 */
export function sampleImage(): SampleImage {
  const content = Uint8Array.from({ length: 9001 }, (_, i) => (i * 31 + (i >> 8)) & 0xff);
  const device = Buffer.concat([Buffer.alloc(512, 0xaa), content], 512 * 20);
  const blob = digestOf(device);
  const plain = { uid: 0, gid: 0, mtime: { seconds: 0, nanoseconds: 0 }, xattrs: new Map<string, Uint8Array>() };
  const extents = [{ at: 0, blob, offset: 512, length: content.length }];
  const file = { ...plain, kind: "file", mode: 0o444, size: content.length, extents } as const;
  const root = { ...plain, kind: "directory", mode: 0o755, entries: new Map([["sample", file]]) } as const;
  const { image } = encodeErofs({ root }, { blobSizes: new Map([[blob, device.length]]), blobTails: new Map() });
  return { image, device, name: "sample", content };
}
