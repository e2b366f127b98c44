import { setTimeout as sleep } from "node:timers/promises";
import { type CallOptions, Failure, type Log, messageOf } from "#base";

/** Yields whenever something may have changed in the runtime, from now on; what it yields is of no matter. */
export type RuntimeEvents = (call: CallOptions) => AsyncIterable<unknown>;

export interface RelistPaceOptions {
  readonly events: RuntimeEvents;
  /** Between two looks where nobody tells what happens. Milliseconds. */
  readonly pollMs: number;
  /** Between two looks at most, where somebody does. Milliseconds. */
  readonly quietMs: number;
  /** A look is due after this many milliseconds at the latest. */
  readonly onEvent: (delayMs: number) => void;
  readonly log: Log;
}

/** After an event the runtime's own lists may take this long to show it. Milliseconds. */
const SETTLE_MS = 50;

/**
 * How often to look at the runtime: always after the same time, unless it tells what happens. Then soon after an event, and
 * from there after twice as long each time, so that what an event announced too early, or not at all, is still seen.
 */
export class RelistPace implements AsyncDisposable {
  readonly #options: RelistPaceOptions;
  readonly #stop = new AbortController();
  readonly #following: Promise<void>;
  #pauseMs = SETTLE_MS;
  #isTold = false;

  constructor(options: RelistPaceOptions) {
    this.#options = options;
    this.#following = this.#follow();
  }

  /** Milliseconds from a look to the next one. */
  pause(): number {
    const { pollMs, quietMs } = this.#options;
    if (!this.#isTold) return pollMs;
    this.#pauseMs = Math.min(this.#pauseMs * 2, quietMs);
    return this.#pauseMs;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#following;
  }

  async #follow(): Promise<void> {
    const { log, onEvent, pollMs } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      // A stream says nothing when it begins: what cannot be had fails soon.
      const begun = setTimeout(() => this.#listen(), pollMs);
      try {
        for await (const _ of this.#options.events({ signal })) {
          this.#listen();
          onEvent(SETTLE_MS);
        }
      } catch (error) {
        if (error instanceof Failure && error.code === "UNIMPLEMENTED") return;
        if (!signal.aborted) log.debug({ error: messageOf(error) }, "runtime events broke off");
      } finally {
        clearTimeout(begun);
        this.#isTold = false;
      }
      await sleep(pollMs, undefined, { signal }).catch(() => undefined);
    }
  }

  #listen(): void {
    this.#isTold = true;
    this.#pauseMs = SETTLE_MS;
  }
}
