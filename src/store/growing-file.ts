import { closeSync, openSync, readSync } from "node:fs";
import { setImmediate as immediate } from "node:timers/promises";
import { Failure } from "#base";

const CHUNK = 512 * 1024;

/** A file that is read while it is written: each byte as soon as its writer says that it is there. */
export class GrowingFile {
  readonly #path: string;
  #available = 0;
  #isWhole = false;
  #isCancelled = false;
  #wake: (() => void) | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** The first `to` bytes are there; they are all of them if `isWhole`. */
  advance(to: number, isWhole: boolean): void {
    this.#available = Math.max(this.#available, to);
    this.#isWhole ||= isWhole;
    this.#wake?.();
  }

  cancel(): void {
    this.#isCancelled = true;
    this.#wake?.();
  }

  /**
   * The bytes from the beginning to the end, all in one buffer: each chunk is good until the next is asked for.
   *
   * @throws Failure CANCELLED, FILE_VANISHED
   */
  async *chunks(): AsyncGenerator<Buffer, void, void> {
    // An empty file may never have been made.
    if ((await this.#beyond(0)) === 0) return;
    const fd = openSync(this.#path, "r");
    const buffer = buffers.pop() ?? Buffer.allocUnsafeSlow(CHUNK);
    try {
      for (let at = 0, until = await this.#beyond(0); until > at; until = await this.#beyond(at)) {
        const length = readSync(fd, buffer, 0, Math.min(until - at, buffer.length), at);
        if (length === 0) throw new Failure("DATA_LOSS", "FILE_VANISHED", `${this.#path} lost bytes while it was read`);
        yield buffer.subarray(0, length);
        at += length;
        // Other files and messages have their turn.
        await immediate();
      }
    } finally {
      closeSync(fd);
      buffers.push(buffer);
    }
  }

  /** Waits until there is more than `at`, or nothing more will come, and says up to where. */
  async #beyond(at: number): Promise<number> {
    while (this.#available <= at && !this.#isWhole && !this.#isCancelled)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    if (this.#isCancelled) throw new Failure("CANCELLED", "CANCELLED", "nobody waits for this file any more");
    return this.#available;
  }
}

/** Buffers that no file uses now: fresh ones would be memory until the garbage collector comes. */
const buffers: Buffer[] = [];
