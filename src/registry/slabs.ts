import { markAsUntransferable } from "node:worker_threads";

/** The kernel reads into pieces of this. Bytes. */
export const SLAB = 512 * 1024;
/** Slabs kept for the next reading. */
const KEPT = 16;

export interface Slab {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Where the next bytes go. */
  at: number;
  /** Bytes that readers still hold. */
  lent: number;
  /** Nothing more is written into it. */
  isFull: boolean;
}

/**
 * Memory to read into. Fresh memory costs a page fault per 4 KiB, more than the copying from the socket: a reader who says
 * which pieces it is done with gets them filled anew. Pieces that are never given back are the garbage collector's.
 */
export class Slabs {
  readonly #free: Slab[] = [];
  readonly #byBuffer = new WeakMap<ArrayBufferLike, Slab>();

  take(): Slab {
    const kept = this.#free.pop();
    if (kept !== undefined) return Object.assign(kept, { at: 0, lent: 0, isFull: false });
    const bytes = new Uint8Array(Buffer.allocUnsafeSlow(SLAB).buffer);
    // The kernel may still write into it while its first pieces are with their reader: it must not move to another thread.
    markAsUntransferable(bytes.buffer);
    const slab = { bytes, at: 0, lent: 0, isFull: false };
    this.#byBuffer.set(bytes.buffer, slab);
    return slab;
  }

  /** No more is written into this one. */
  fill(slab: Slab): void {
    slab.isFull = true;
    this.#keep(slab);
  }

  /** A piece that its reader is done with. */
  giveBack(piece: Uint8Array): void {
    const slab = this.#byBuffer.get(piece.buffer);
    if (slab === undefined) return;
    slab.lent -= piece.byteLength;
    this.#keep(slab);
  }

  /** Nobody reads any more: the memory is the garbage collector's. */
  forget(): void {
    this.#free.length = 0;
  }

  #keep(slab: Slab): void {
    if (slab.isFull && slab.lent === 0 && this.#free.length < KEPT) this.#free.push(slab);
  }
}
