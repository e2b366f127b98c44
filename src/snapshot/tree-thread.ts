import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { CODES, Failure, errnoOf, type Code } from "#base";
import { diskFailure } from "#store";
import type { FromTreeWorker, TreeAnswer, TreeJob } from "./tree-job.ts";

/** What a tree may need, in MiB; beyond it the thread ends, and not the process. */
const MEMORY = 2048;

/** A thread that has had nothing to do for so long ends, and gives back what its last tree took. Milliseconds. */
const IDLE = 30_000;

/** One thread that builds trees, so that a large one keeps nobody waiting but its caller. Started when first needed. */
export class TreeThread implements AsyncDisposable {
  #worker: Worker | undefined;
  readonly #waiting = new Map<number, PromiseWithResolvers<TreeAnswer>>();
  #next = 0;
  #isEnding = false;
  readonly #idle: number;
  #timer: NodeJS.Timeout | undefined;

  constructor(idle = IDLE) {
    this.#idle = idle;
  }

  /** Lets the thread load while its first job is not yet known. */
  warm(): void {
    this.#worker ??= this.#start();
  }

  async run(job: TreeJob): Promise<TreeAnswer> {
    this.warm();
    clearTimeout(this.#timer);
    const id = this.#next++;
    const waiting = Promise.withResolvers<TreeAnswer>();
    this.#waiting.set(id, waiting);
    this.#worker?.ref();
    this.#worker?.postMessage({ id, job });
    return await waiting.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isEnding = true;
    clearTimeout(this.#timer);
    await this.#worker?.terminate();
  }

  #rest(worker: Worker): void {
    worker.unref();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#worker !== worker || this.#waiting.size > 0) return;
      this.#worker = undefined;
      void worker.terminate();
    }, this.#idle).unref();
  }

  #start(): Worker {
    const worker = new Worker(new URL(`./tree-worker${extname(import.meta.filename)}`, import.meta.url), {
      resourceLimits: { maxOldGenerationSizeMb: MEMORY, maxYoungGenerationSizeMb: 24 },
    });
    this.#rest(worker);
    worker.on("message", (message: FromTreeWorker) => {
      const waiting = this.#waiting.get(message.id);
      this.#waiting.delete(message.id);
      // Whoever waits for its end must live to see it.
      if (this.#waiting.size === 0 && !this.#isEnding) this.#rest(worker);
      if ("answer" in message) waiting?.resolve(message.answer);
      else waiting?.reject(revive(message.error));
    });
    worker.on("error", (error) => this.#lose(worker, error));
    worker.on("exit", () => this.#lose(worker, new Failure("CANCELLED", "CANCELLED", "the snapshots were closed")));
    return worker;
  }

  #lose(worker: Worker, error: Error): void {
    // One that ended of idleness has left nobody waiting; those who wait now wait for another.
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    const tooLarge = errnoOf(error) === "ERR_WORKER_OUT_OF_MEMORY";
    const failure = tooLarge
      ? new Failure("RESOURCE_EXHAUSTED", "TREE_LIMIT", `the object's tree needs more than ${MEMORY} MiB of memory`)
      : error;
    for (const waiting of this.#waiting.values()) waiting.reject(failure);
    this.#waiting.clear();
  }
}

function revive({ code, reason, message }: { code?: string; reason?: string; message: string }): unknown {
  if (reason !== undefined && code !== undefined && code in CODES) return new Failure(code as Code, reason, message);
  return diskFailure(Object.assign(new Error(message), { code }), "making the snapshot");
}
