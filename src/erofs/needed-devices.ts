import { Failure } from "#base";
import type { Digest } from "#oci";
import { DEVICE_LIMIT } from "./devices.ts";
import type { BlobFacts, DataPlan } from "./file-data.ts";
import { BLOCK } from "./format.ts";

const DEVICE_COUNT_LIMIT = 0xfffe;
/** The address space that flat files share has as many blocks. */
const UNIFIED_LIMIT = 0xfffffffe;

export interface PlannedDevice {
  readonly digest: Digest;
  readonly size: number;
  /** Place in the device table, from 1 on. */
  readonly id: number;
  /** First block in the image's address space, where a flat file lies in it; else 0. */
  unified: number;
}

/** The blobs that hold at least one block of a file, in the order of the tree. */
export class NeededDevices {
  readonly all = new Map<Digest, PlannedDevice>();
  readonly #sizes: ReadonlyMap<Digest, number>;
  #last: Digest | undefined;
  #lastSize = -1;

  constructor(blobs: BlobFacts) {
    this.#sizes = blobs.blobSizes;
  }

  /** -1 where nobody said. One blob's files mostly come one after the other. */
  sizeOf(blob: Digest | undefined): number {
    if (blob === undefined) return -1;
    if (blob !== this.#last) [this.#last, this.#lastSize] = [blob, this.#sizes.get(blob) ?? -1];
    return this.#lastSize;
  }

  need(blob: Digest): void {
    if (this.all.has(blob)) return;
    const size = this.sizeOf(blob);
    if (size > DEVICE_LIMIT)
      throw new Failure(
        "FAILED_PRECONDITION",
        "BLOB_TOO_LARGE",
        `blob ${blob} has ${size} bytes, and EROFS with blocks of ${BLOCK} bytes reaches ${DEVICE_LIMIT}`,
      );
    this.all.set(blob, { digest: blob, size, id: this.all.size + 1, unified: 0 });
    if (this.all.size > DEVICE_COUNT_LIMIT)
      throw new Failure(
        "FAILED_PRECONDITION",
        "TOO_MANY_BLOBS",
        `the tree's files lie in more than ${DEVICE_COUNT_LIMIT} blobs, which is all that one EROFS image can point into`,
      );
  }

  /** Flat files name no device: their blobs get addresses from block `from` on, behind the image's own. */
  unify(plans: Iterable<DataPlan>, from: number): void {
    let next = from;
    for (const plan of plans) {
      const device = plan.kind === "flat" ? this.all.get(plan.run.blob) : undefined;
      if (device === undefined || device.unified > 0) continue;
      device.unified = next;
      next += Math.ceil(device.size / BLOCK);
      if (next > UNIFIED_LIMIT)
        throw new Failure(
          "FAILED_PRECONDITION",
          "BLOB_TOO_LARGE",
          `the blobs of the tree whose sizes are no multiples of ${BLOCK} have more than ${DEVICE_LIMIT} bytes together; EROFS cannot address them`,
        );
    }
  }
}
