import { Failure } from "#base";
import { algorithmOf, hexOf, type Digest } from "#oci";
import { BLOCK, DEVICE, SUPER } from "./format.ts";

/** One extra device of an image: the blob that its files' data lies in. */
export interface ImageDevice {
  readonly digest: Digest;
  /** Blocks of 512 bytes that the device must have; the last may be cut short. */
  readonly blocks: number;
}

/** Blocks are numbered in 32 bits, and the last number means a hole. Bytes. */
export const DEVICE_LIMIT = 0xfffffffe * BLOCK;

/**
 * Writes one device slot. The tag of 64 bytes holds a sha256 as its 64 hex digits, and a sha512 as its 64 bytes; that 64 bytes of a
 * real sha512 all happen to be hex digits has a chance of 2^-226, so a reader can tell them apart.
 */
export function writeDevice(
  image: Buffer,
  at: number,
  device: { readonly digest: Digest; readonly size: number; readonly unified: number },
): void {
  image.write(hexOf(device.digest), at, algorithmOf(device.digest) === "sha256" ? "latin1" : "hex");
  image.writeUInt32LE(Math.ceil(device.size / BLOCK), at + DEVICE.blocks);
  image.writeUInt32LE(device.unified, at + DEVICE.unified);
}

/**
 * The devices of an image in the order in which a mount must name them: an image says by itself which blobs it needs. `head` is
 * the image or as much of its beginning as holds the device table, which lies right behind the root's inode.
 *
 * @throws Failure INVALID_IMAGE
 */
export function readDevices(head: Uint8Array): readonly ImageDevice[] {
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.byteLength);
  if (bytes.length < SUPER.at + SUPER.size) throw invalidImage("it is too short for a superblock");
  if (bytes.readUInt32LE(SUPER.at) !== SUPER.magic) throw invalidImage("it has no EROFS superblock");
  const count = bytes.readUInt16LE(SUPER.at + SUPER.extraDevices);
  const start = bytes.readUInt16LE(SUPER.at + SUPER.deviceTableSlot) * DEVICE.size;
  if (start + count * DEVICE.size > bytes.length) throw invalidImage("it ends before its device table does");
  return Array.from({ length: count }, (_, i) => {
    const at = start + i * DEVICE.size;
    const tag = bytes.toString("latin1", at, at + DEVICE.tag);
    const digest = /^[0-9a-f]{64}$/.test(tag)
      ? `sha256:${tag}`
      : `sha512:${bytes.toString("hex", at, at + DEVICE.tag)}`;
    return { digest: digest as Digest, blocks: bytes.readUInt32LE(at + DEVICE.blocks) };
  });
}

export function invalidImage(why: string): Failure {
  return new Failure("DATA_LOSS", "INVALID_IMAGE", `the EROFS image cannot be read: ${why}; make it anew`);
}
