import type { TarBytes } from "./entry.ts";
import { broken } from "./limits.ts";

const SMALLEST = 4 * 1024;
const LARGEST = 256 * 1024;
/** Below this distance reading on is cheaper than another call. */
const NEAR = 16 * 1024;

/**
 * A buffer that slides over an archive. Where headers lie close together one read serves hundreds of them; where big files
 * lie between them each header costs one small read.
 */
export class Window {
  readonly #bytes: TarBytes;
  #start = 0;
  #length = 0;
  #buffer: Buffer = Buffer.alloc(0);
  #reach = SMALLEST;

  constructor(bytes: TarBytes) {
    this.#bytes = bytes;
  }

  get size(): number {
    return this.#bytes.size;
  }

  /** Where `buffer` has the byte at `offset`. `length` bytes follow it, or fewer where the archive ends. */
  seek(offset: number, length: number): number {
    const from = offset - this.#start;
    if (from >= 0 && from + length <= this.#length) return from;
    this.#slide(offset, length);
    return 0;
  }

  /** What `seek` speaks of. The next `seek` may overwrite it: buffers that come and go are what costs the most. */
  get buffer(): Buffer {
    return this.#buffer;
  }

  /** The bytes from `offset` on, fewer than `length` only where the archive ends. Good until the next `seek` or `view`. */
  view(offset: number, length: number): Buffer {
    const at = this.seek(offset, length);
    return this.#buffer.subarray(at, Math.min(at + length, this.#length));
  }

  #slide(offset: number, length: number): void {
    const gap = offset - (this.#start + this.#length);
    this.#reach = Math.abs(gap) <= NEAR ? Math.min(this.#reach * 2, LARGEST) : SMALLEST;
    const wanted = Math.max(0, Math.min(Math.max(length, this.#reach), this.#bytes.size - offset));
    if (wanted > this.#buffer.length) this.#buffer = Buffer.allocUnsafeSlow(wanted);
    this.#length = this.#bytes.read(offset, this.#buffer.subarray(0, wanted));
    this.#start = offset;
    if (this.#length < wanted) throw broken("it is shorter than its size", offset + this.#length);
  }
}
