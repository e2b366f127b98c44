import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "#base";
import type { ErofsSupport, Kernel } from "./kernel.ts";

/** A tiny image with one extra device, and what a reader must find in it. Made by `sampleImage()` of the room erofs. */
export interface ErofsSample {
  readonly image: Uint8Array;
  /** Bytes of the extra device. */
  readonly device: Uint8Array;
  /** Name in the root directory of the file whose data lies in the device, at a multiple of 512 that is none of 4096. */
  readonly name: string;
  readonly content: Uint8Array;
}

/**
 * Finds out by trying whether this kernel serves EROFS images whose files lie in `directory`, and whether it can bypass their
 * page cache. Everything it makes in `directory` is gone afterwards. Never throws: what does not work is `supported: false` and why.
 */
export async function probeErofs(kernel: Kernel, directory: string, sample: ErofsSample): Promise<ErofsSupport> {
  let place: string | undefined;
  try {
    place = await mkdtemp(join(directory, ".probe-"));
    const files = { image: join(place, "image"), device: join(place, "device"), target: join(place, "target") };
    // On disk, since a reader past the page cache would not see them elsewhere.
    await writeFile(files.image, sample.image, { flush: true });
    await writeFile(files.device, sample.device, { flush: true });
    await mkdir(files.target);
    const buffered = await attempt(kernel, files, sample, false);
    if (buffered !== undefined) return { supported: false, why: buffered };
    return { supported: true, directIo: (await attempt(kernel, files, sample, true)) === undefined };
  } catch (error) {
    return { supported: false, why: messageOf(error) };
  } finally {
    // What cannot be removed is no reason to hide the answer.
    if (place !== undefined) await rm(place, { recursive: true, force: true }).catch(() => {});
  }
}

/** What went wrong, or undefined. */
async function attempt(
  kernel: Kernel,
  files: { readonly image: string; readonly device: string; readonly target: string },
  sample: ErofsSample,
  directIo: boolean,
): Promise<string | undefined> {
  const flags = { readOnly: true, noExec: true, noSuid: true, noDev: true };
  try {
    kernel.mountErofs({ image: files.image, devices: [files.device], directIo, flags }, files.target);
  } catch (error) {
    return messageOf(error);
  }
  try {
    const read = await readFile(join(files.target, sample.name));
    return read.equals(sample.content) ? undefined : "the kernel reads other bytes from an EROFS image than it holds";
  } catch (error) {
    return messageOf(error);
  } finally {
    kernel.unmount(files.target);
  }
}
