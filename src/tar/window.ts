import type { TarBytes } from "./entry.ts";

const SMALLEST = 8 * 1024;
const LARGEST = 256 * 1024;
/** Below this distance reading on is cheaper than another call. */
const NEAR = 64 * 1024;

/**
 * A buffer that slides over an archive. Where headers lie close together one read serves hundreds of them; where big files
 * lie between them each header costs one small read.
 */
export class Window {
  readonly #bytes: TarBytes;
  #start = 0;
  #buffer = Buffer.alloc(0);
  #reach = SMALLEST;

  constructor(bytes: TarBytes) {
    this.#bytes = bytes;
  }

  get size(): number {
    return this.#bytes.size;
  }

  /** A view of the bytes from `offset` on, shorter than `length` only where the archive ends. Good until the next call. */
  view(offset: number, length: number): Buffer {
    const from = offset - this.#start;
    if (from < 0 || from + length > this.#buffer.length) this.#slide(offset, length);
    const at = offset - this.#start;
    return this.#buffer.subarray(at, at + length);
  }

  #slide(offset: number, length: number): void {
    const gap = offset - (this.#start + this.#buffer.length);
    this.#reach = Math.abs(gap) <= NEAR ? Math.min(this.#reach * 2, LARGEST) : SMALLEST;
    const wanted = Math.max(0, Math.min(Math.max(length, this.#reach), this.#bytes.size - offset));
    const buffer = Buffer.allocUnsafe(wanted);
    this.#buffer = buffer.subarray(0, this.#bytes.read(offset, buffer));
    this.#start = offset;
  }
}
