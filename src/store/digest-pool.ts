import { availableParallelism } from "node:os";
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { CODES, Failure, type Code } from "#base";
import type {
  DigestJob,
  FileDigest,
  FileJob,
  FromWorker,
  Inflated,
  InflateJob,
  ToWorker,
  WorkerError,
} from "./digest-job.ts";

/** A job that runs: told how far its file has come, and when that is all, it ends with a result. */
export interface RunningJob<Result> {
  /** The first `available` bytes are there; they are all of them if `isWhole`. */
  advance(available: number, isWhole: boolean): void;
  cancel(): void;
  readonly result: Promise<Result>;
}

/** A thread that has had nothing to do for so long ends. Milliseconds. */
const IDLE = 30_000;

/** Worker threads that hash and inflate files while they are written. Started when first needed; idleness and disposal end them. */
export class DigestPool implements AsyncDisposable {
  readonly #limit: number;
  readonly #threads: Thread[] = [];
  readonly #idle: number;
  #next = 0;

  constructor(limit = Math.min(Math.max(availableParallelism(), 2), 4), idle = IDLE) {
    this.#limit = limit;
    this.#idle = idle;
  }

  digest(file: Omit<DigestJob, "kind">): RunningJob<FileDigest> {
    return this.#run({ kind: "digest", ...file }) as RunningJob<FileDigest>;
  }

  /** `onWritten` is told how far the plain file has come. */
  inflate(file: Omit<InflateJob, "kind">, onWritten: (bytes: number) => void): RunningJob<Inflated> {
    return this.#run({ kind: "inflate", ...file }, onWritten);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#threads.splice(0).map((thread) => thread.end()));
  }

  #run(job: FileJob, onWritten?: (bytes: number) => void): RunningJob<FileDigest | Inflated> {
    const id = this.#next++;
    const thread = this.#leastBusy();
    return {
      result: thread.run(id, job, onWritten),
      advance: (available, isWhole) => thread.send({ id, available, isWhole }),
      cancel: () => thread.send({ id, cancel: true }),
    };
  }

  #leastBusy(): Thread {
    const idle = this.#threads.find((thread) => thread.busy === 0);
    if (idle !== undefined) return idle;
    if (this.#threads.length < this.#limit) {
      const thread = new Thread(() => {
        const at = this.#threads.indexOf(thread);
        if (at >= 0) this.#threads.splice(at, 1);
      }, this.#idle);
      this.#threads.push(thread);
      return thread;
    }
    return this.#threads.reduce((least, thread) => (thread.busy < least.busy ? thread : least));
  }
}

interface Waiting extends PromiseWithResolvers<FileDigest | Inflated> {
  readonly onWritten: ((bytes: number) => void) | undefined;
}

class Thread {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  readonly #gone: () => void;
  readonly #idle: number;
  #timer: NodeJS.Timeout | undefined;
  #isEnding = false;

  /** `gone` is told when nothing may be given to it any more. */
  constructor(gone: () => void, idle: number) {
    this.#gone = gone;
    this.#idle = idle;
    this.#worker = new Worker(new URL(`./digest-worker${extname(import.meta.filename)}`, import.meta.url), {
      // It holds a few buffers and no data structures: a large nursery would only be memory.
      resourceLimits: { maxYoungGenerationSizeMb: 4, maxOldGenerationSizeMb: 128 },
    });
    // A thread without work keeps nobody alive.
    this.#worker.unref();
    this.#worker.on("message", (message: FromWorker) => {
      const waiting = this.#waiting.get(message.id);
      if ("written" in message) return waiting?.onWritten?.(message.written);
      this.#waiting.delete(message.id);
      // Whoever waits for its end must live to see it.
      if (this.#waiting.size === 0 && !this.#isEnding) this.#rest();
      if ("result" in message) waiting?.resolve(message.result);
      else waiting?.reject(revive(message.error));
    });
    this.#worker.on("error", (error) => this.#lose(error));
    this.#worker.on("exit", () => {
      gone();
      this.#lose(new Failure("CANCELLED", "CANCELLED", "the store was closed"));
    });
  }

  get busy(): number {
    return this.#waiting.size;
  }

  run(id: number, job: FileJob, onWritten?: (bytes: number) => void): Promise<FileDigest | Inflated> {
    const waiting = { ...Promise.withResolvers<FileDigest | Inflated>(), onWritten };
    // Whoever cancels no longer listens.
    waiting.promise.catch(() => undefined);
    this.#waiting.set(id, waiting);
    clearTimeout(this.#timer);
    this.#worker.ref();
    this.send({ id, job });
    return waiting.promise;
  }

  send(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  async end(): Promise<void> {
    this.#isEnding = true;
    clearTimeout(this.#timer);
    await this.#worker.terminate();
  }

  #rest(): void {
    this.#worker.unref();
    this.#timer = setTimeout(() => {
      this.#gone();
      void this.end();
    }, this.#idle).unref();
  }

  #lose(error: unknown): void {
    for (const waiting of this.#waiting.values()) waiting.reject(error);
    this.#waiting.clear();
  }
}

function revive({ code, reason, message }: WorkerError): Error {
  if (reason !== undefined && code !== undefined && code in CODES) return new Failure(code as Code, reason, message);
  return Object.assign(new Error(message), { code });
}
