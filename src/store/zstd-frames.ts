const FRAME = 0xfd2fb528;

/** What comes next in a zstd stream: bytes that must be looked at, bytes that need not, or the end of a frame. */
type Step = { readonly read: number } | { readonly skip: number } | "end";

/**
 * Finds where each zstd frame ends, by its headers alone. Node's decompressor forgets what follows a frame in one write, so every
 * frame must come to it in writes of its own.
 */
export class ZstdFrames {
  readonly #walk = walk();
  #step: Step = this.#walk.next().value;
  #held: number[] = [];
  #skipped = 0;

  /** `chunk` in pieces, none of which reaches over the end of a frame. */
  *split(chunk: Uint8Array): Generator<Uint8Array> {
    let from = 0;
    let at = 0;
    while (at < chunk.length) {
      at += this.#take(chunk, at);
      if (this.#step !== "end") continue;
      this.#step = this.#walk.next().value;
      yield chunk.subarray(from, at);
      from = at;
    }
    if (from < chunk.length) yield chunk.subarray(from);
  }

  /** Goes on from `at` as far as one step goes; how many bytes that were. */
  #take(chunk: Uint8Array, at: number): number {
    if (this.#step === "end") return 0;
    if ("read" in this.#step) {
      this.#held.push(chunk[at] ?? 0);
      if (this.#held.length === this.#step.read) this.#advance(Buffer.from(this.#held));
      return 1;
    }
    const length = Math.min(this.#step.skip - this.#skipped, chunk.length - at);
    this.#skipped += length;
    if (this.#skipped === this.#step.skip) this.#advance(Buffer.of());
    return length;
  }

  #advance(bytes: Buffer): void {
    this.#held = [];
    this.#skipped = 0;
    do this.#step = this.#walk.next(bytes).value;
    while (this.#step !== "end" && "skip" in this.#step && this.#step.skip === 0);
  }
}

/** RFC 8878 §3.1. What is no zstd is walked as a skippable frame: the decompressor will refuse it. */
function* walk(): Generator<Step, never, Buffer> {
  for (;;) {
    const magic = yield { read: 4 };
    if (magic.readUInt32LE() !== FRAME) {
      yield { skip: (yield { read: 4 }).readUInt32LE() };
      yield "end";
      continue;
    }
    const descriptor = (yield { read: 1 }).readUInt8();
    const single = (descriptor >> 5) & 1;
    const dictionary = [0, 1, 2, 4][descriptor & 3] ?? 0;
    const contentSize = [single, 2, 4, 8][descriptor >> 6] ?? 0;
    yield { skip: 1 - single + dictionary + contentSize };
    for (let last = false; !last;) {
      const header = (yield { read: 3 }).readUIntLE(0, 3);
      last = (header & 1) === 1;
      const rle = ((header >> 1) & 3) === 1;
      yield { skip: rle ? 1 : header >> 3 };
    }
    if ((descriptor & 4) !== 0) yield { skip: 4 };
    yield "end";
  }
}
