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
    if (from >= 0 && from + length <= this.#buffer.length) return from;
    this.#slide(offset, length);
    return 0;
  }

  /** What `seek` speaks of. It is replaced by the next `seek`, never overwritten. */
  get buffer(): Buffer {
    return this.#buffer;
  }

  /** The bytes from `offset` on, fewer than `length` only where the archive ends. They stay what they are. */
  view(offset: number, length: number): Buffer {
    const at = this.seek(offset, length);
    return this.#buffer.subarray(at, at + length);
  }

  #slide(offset: number, length: number): void {
    const gap = offset - (this.#start + this.#buffer.length);
    this.#reach = Math.abs(gap) <= NEAR ? Math.min(this.#reach * 2, LARGEST) : SMALLEST;
    const wanted = Math.max(0, Math.min(Math.max(length, this.#reach), this.#bytes.size - offset));
    // Small buffers come from a pool that a view would keep alive whole.
    const buffer = Buffer.allocUnsafeSlow(wanted);
    this.#buffer = buffer.subarray(0, this.#bytes.read(offset, buffer));
    this.#start = offset;
  }
}
