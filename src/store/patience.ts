import { setTimeout as sleep } from "node:timers/promises";
import { isFailure, type Failure } from "#base";

/** How much a source may fail before a blob is given up. */
export interface PatienceOptions {
  /** Failures in a row without progress in between. */
  readonly attempts: number;
  /** Milliseconds before the second attempt; doubles up to 5 s, with jitter. */
  readonly delay: number;
  /** Milliseconds without a byte after which a connection counts as dead. */
  readonly stall: number;
}

export const PATIENCE: PatienceOptions = { attempts: 6, delay: 200, stall: 30_000 };

const LONGEST = 5000;
/** Fewer bytes than these between two failures are no progress: a source that dies at once every time is given up. */
const PROGRESS = 256 * 1024;

/** Counts the failures of one blob's source: many are borne while bytes come, few while none do. */
export class Patience {
  readonly #options: PatienceOptions;
  #failures = 0;
  #bytes = 0;

  constructor(options: PatienceOptions) {
    this.#options = options;
  }

  received(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes < PROGRESS) return;
    this.#bytes = 0;
    this.#failures = 0;
  }

  /** Waits before the next attempt. @throws `error` where another attempt makes no sense. */
  async bear(error: unknown, signal: AbortSignal): Promise<void> {
    if (!isPassing(error) || ++this.#failures >= this.#options.attempts) throw error;
    const delay = Math.min(this.#options.delay * 2 ** (this.#failures - 1), LONGEST);
    await sleep(delay * (0.5 + Math.random() / 2), undefined, { signal });
  }
}

/** Whether the same request may well succeed in a moment. What is no Failure comes from a broken connection. */
function isPassing(error: unknown): boolean {
  if (!isFailure(error)) return true;
  const failure: Failure = error;
  if (["NO_SPACE", "READ_ONLY_STORE", "DISK_ERROR", "RETRY_LATER"].includes(failure.reason)) return false;
  return ["UNAVAILABLE", "DATA_LOSS", "DEADLINE_EXCEEDED", "UNKNOWN", "RESOURCE_EXHAUSTED", "OUT_OF_RANGE"].includes(
    failure.code,
  );
}
