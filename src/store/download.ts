import { Failure } from "#base";
import type { ByteRange, Descriptor, Source } from "#oci";
import type { Ingest } from "./ingest.ts";
import { Patience, type PatienceOptions } from "./patience.ts";
import type { Slots } from "./slots.ts";

/** What one request asks for, in bytes: long enough that a request costs nothing, short enough that losing one costs little. */
export const PART = 8 * 1024 * 1024;
const BATCH = 512 * 1024;
const FIRST_LANES = 4;
const MOST_LANES = 16;
/** More lanes are worth it while each step makes the whole faster by this factor. */
const GAIN = 1.2;

export interface DownloadOptions {
  readonly source: Source;
  readonly target: Descriptor;
  readonly ingest: Ingest;
  /** Connections of the whole store. */
  readonly slots: Slots;
  readonly patience: PatienceOptions;
  readonly signal: AbortSignal;
  /** Called whenever bytes were written. */
  readonly onWritten: () => void;
  /** Called with the milliseconds for which the source will not ask for more. */
  readonly onWaiting?: ((milliseconds: number) => void) | undefined;
}

/**
 * Fetches what the ingest lacks: several ranges at once, more while more makes it faster; one stream where the server has no ranges.
 * Broken connections are replaced and go on behind the last byte.
 *
 * @throws Failure of the source when it has failed too often in a row, or of the disk at once.
 */
export async function download(options: DownloadOptions): Promise<void> {
  await new Download(options).run();
}

class Download {
  readonly #options: DownloadOptions;
  readonly #patience: Patience;
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  readonly #todo: ByteRange[];
  readonly #lanes = new Map<AbortController, Promise<void>>();
  readonly #pace = new Pace();
  /** The lane that reads the whole blob, once the server is known to ignore ranges. */
  #stream: AbortController | undefined;
  /** The first one; the others follow from it. */
  #failure: { readonly error: unknown } | undefined;

  constructor(options: DownloadOptions) {
    this.#options = options;
    this.#patience = new Patience(options.patience);
    this.#signal = AbortSignal.any([options.signal, this.#stop.signal]);
    this.#todo = options.ingest.missing.flatMap(parts);
  }

  async run(): Promise<void> {
    for (let i = Math.min(FIRST_LANES, this.#todo.length); i > 0; i--) this.#addLane();
    while (this.#lanes.size > 0) await Promise.race(this.#lanes.values());
    this.#options.signal.throwIfAborted();
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  #addLane(): void {
    const lane = new AbortController();
    const signal = AbortSignal.any([this.#signal, lane.signal]);
    // Each takes note of its own failure, as one that was added late may fail before anybody waits for it.
    const work = this.#work(lane, signal)
      .catch((error: unknown) => {
        this.#failure ??= { error };
        this.#stop.abort(error);
      })
      .finally(() => this.#lanes.delete(lane));
    this.#lanes.set(lane, work);
  }

  async #work(lane: AbortController, signal: AbortSignal): Promise<void> {
    for (let part = this.#todo.shift(); part !== undefined; part = this.#todo.shift()) {
      try {
        await this.#fetch(part, lane, signal);
        const more = this.#pace.wanted(this.#lanes.size, part.end - part.start);
        for (let i = Math.min(more, this.#todo.length - 1); i > 0; i--) this.#addLane();
      } catch (error) {
        if (lane.signal.aborted) return;
        this.#signal.throwIfAborted();
        await this.#patience.bear(error, signal);
        const { ingest } = this.#options;
        this.#todo.unshift(...ingest.missing.flatMap((gap) => overlap(gap, part)));
        // A stream starts anew and takes everything that is left.
        if (this.#stream === lane) this.#todo.splice(0, this.#todo.length, { start: ingest.prefix, end: ingest.size });
      }
    }
  }

  async #fetch(part: ByteRange, lane: AbortController, signal: AbortSignal): Promise<void> {
    const { source, target, slots, ingest } = this.#options;
    const release = await slots.take(signal);
    const onWaiting = (milliseconds: number) => {
      stall.wait(milliseconds);
      this.#options.onWaiting?.(milliseconds);
    };
    using stall = new Stall(this.#options.patience.stall, `${source.name} sent nothing of ${target.digest}`);
    try {
      const {
        start,
        body,
        release: giveBack,
      } = await source.open(target, part, { signal: AbortSignal.any([signal, stall.signal]), onWaiting });
      if (start > part.start) throw broken("WRONG_RANGE", `${source.name} sent another range of ${target.digest}`);
      if (start < part.start && !this.#becomeStream(lane)) return;
      let end = this.#stream === lane ? ingest.size : part.end;
      const writer = new BatchWriter(
        ingest,
        start,
        (bytes) => {
          this.#patience.received(bytes);
          this.#options.onWritten();
        },
        giveBack,
      );
      try {
        for await (const chunk of body) {
          stall.pause();
          if (writer.at + chunk.length > end && end < ingest.size) {
            if (!this.#becomeStream(lane)) break;
            end = ingest.size;
          }
          if (writer.at + chunk.length > end)
            throw broken("WRONG_LENGTH", `${source.name} sent more than the ${ingest.size} bytes of ${target.digest}`);
          await writer.push(chunk);
          stall.resume();
        }
      } finally {
        await writer.flush();
      }
      if (writer.at < end && (this.#stream === undefined || this.#stream === lane))
        throw broken("TRUNCATED", `${source.name} broke off at byte ${writer.at} of ${target.digest}`);
    } catch (error) {
      throw stall.signal.aborted ? stall.signal.reason : error;
    } finally {
      release();
    }
  }

  /** This connection sends everything from the start on: all others are superfluous. False where another one does so already. */
  #becomeStream(lane: AbortController): boolean {
    this.#stream ??= lane;
    if (this.#stream !== lane) return false;
    this.#todo.length = 0;
    for (const other of this.#lanes.keys()) if (other !== lane) other.abort();
    return true;
  }
}

/** Collects chunks into batches and writes each while the next is collected. What is there already is not written again. */
class BatchWriter {
  at: number;
  readonly #ingest: Ingest;
  readonly #written: (bytes: number) => void;
  readonly #giveBack: ((chunk: Uint8Array) => void) | undefined;
  #batch: Uint8Array[] = [];
  #from: number;
  #writing: Promise<void> = Promise.resolve();

  constructor(
    ingest: Ingest,
    start: number,
    written: (bytes: number) => void,
    giveBack: ((chunk: Uint8Array) => void) | undefined,
  ) {
    this.#ingest = ingest;
    this.#written = written;
    this.#giveBack = giveBack;
    this.at = start;
    this.#from = start;
  }

  async push(chunk: Uint8Array): Promise<void> {
    this.#batch.push(chunk);
    this.at += chunk.length;
    if (this.at - this.#from >= BATCH) await this.#send();
  }

  async flush(): Promise<void> {
    await this.#send();
    await this.#writing;
  }

  async #send(): Promise<void> {
    const range = { start: this.#from, end: this.at };
    const batch = this.#batch;
    this.#batch = [];
    this.#from = this.at;
    await this.#writing;
    this.#writing = this.#write(range, batch);
    // Its failure is noticed by whoever waits for it next.
    this.#writing.catch(() => undefined);
  }

  async #write(range: ByteRange, batch: readonly Uint8Array[]): Promise<void> {
    const gaps = this.#ingest.missing.flatMap((gap) => overlap(gap, range));
    for (const gap of gaps) {
      const whole = gap.start === range.start && gap.end === range.end;
      const bytes = whole ? batch : [Buffer.concat(batch).subarray(gap.start - range.start, gap.end - range.start)];
      await this.#ingest.write(gap.start, bytes);
    }
    if (this.#giveBack !== undefined) for (const chunk of batch) this.#giveBack(chunk);
    this.#written(range.end - range.start);
  }
}

/** Aborts a request on which nothing has come for too long. Our own disk's slowness does not count, nor what is waited on purpose. */
class Stall implements Disposable {
  readonly #abort = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly #limit: number;
  #paused = false;
  #deadline = 0;

  constructor(limit: number, what: string) {
    this.#limit = limit;
    this.#timer = setTimeout(() => {
      if (this.#paused || performance.now() < this.#deadline) this.#timer.refresh();
      else this.#abort.abort(new Failure("UNAVAILABLE", "STALLED", `${what} for ${limit / 1000} s`));
    }, limit);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  wait(milliseconds: number): void {
    this.#deadline = performance.now() + milliseconds + this.#limit;
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#timer.refresh();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}

/** Decides whether more lanes are worth trying, by the rate over as many parts as there are lanes. */
class Pace {
  #since = performance.now();
  #bytes = 0;
  #parts = 0;
  #best = 0;
  #settled = false;

  /** Told of every part that came; how many lanes to add. */
  wanted(lanes: number, bytes: number): number {
    this.#bytes += bytes;
    if (this.#settled || ++this.#parts < lanes) return 0;
    const rate = this.#bytes / Math.max(performance.now() - this.#since, 1);
    this.#settled = rate < this.#best * GAIN || lanes >= MOST_LANES;
    this.#best = rate;
    this.#since = performance.now();
    this.#bytes = 0;
    this.#parts = 0;
    return this.#settled ? 0 : Math.min(Math.ceil(lanes / 2), MOST_LANES - lanes);
  }
}

function parts(gap: ByteRange): readonly ByteRange[] {
  const count = Math.ceil((gap.end - gap.start) / PART);
  return Array.from({ length: count }, (_, i) => ({
    start: gap.start + i * PART,
    end: Math.min(gap.start + (i + 1) * PART, gap.end),
  }));
}

function overlap(a: ByteRange, b: ByteRange): readonly ByteRange[] {
  const start = Math.max(a.start, b.start);
  const end = Math.min(a.end, b.end);
  return start < end ? [{ start, end }] : [];
}

function broken(reason: string, message: string): Failure {
  return new Failure("UNAVAILABLE", reason, message);
}
