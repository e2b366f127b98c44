import { messageOf } from "#base";
import { ImageFailure, type ImagePuller, type ImageRequest, type ReadyImage } from "./image-puller.ts";
import type { EventRecorder } from "./events.ts";

export type ImageState =
  | { readonly kind: "pulling"; readonly last: ImageTrouble | undefined }
  | { readonly kind: "ready"; readonly image: ReadyImage }
  | { readonly kind: "failed"; readonly trouble: ImageTrouble };

/** A reason to wait, as a container's status shows it. Every new occurrence is another object. */
export interface ImageTrouble {
  readonly reason: string;
  readonly message: string;
}

interface Attempt {
  state: ImageState;
  /** When something is to happen next: the step to back-off, or another try. Milliseconds. */
  nextAt: number;
  retryAt: number;
  /** For how long a failure is shown as what it was, from when somebody first sees it. */
  showMs: number;
  isSeen: boolean;
}

/** A failure is shown as what it was for this long at most before it is called a back-off. */
const SHOW_MS = 1000;

/**
 * The images that one Pod asks for, each by a key of its own. A request never waits: pulls run beside one another and beside
 * everything else, and `wake` says when one has news.
 */
export class PodImages {
  readonly #attempts = new Map<string, Attempt>();
  readonly #puller: ImagePuller;
  readonly #recorder: EventRecorder;
  readonly #now: () => number;
  readonly #wake: (delayMs: number) => void;
  readonly #stop = new AbortController();
  readonly #running = new Set<Promise<void>>();

  constructor(puller: ImagePuller, recorder: EventRecorder, now: () => number, wake: (delayMs: number) => void) {
    this.#puller = puller;
    this.#recorder = recorder;
    this.#now = now;
    this.#wake = wake;
  }

  /** Begins, goes on, or tries again when it is time; and says how far it is. */
  request(key: string, request: ImageRequest): ImageState {
    const known = this.#attempts.get(key);
    if (!known) return this.#begin(key, request, undefined);
    if (known.state.kind !== "failed") return known.state;
    const now = this.#now();
    if (!known.isSeen) {
      known.isSeen = true;
      known.nextAt = Math.min(known.retryAt, now + known.showMs);
    }
    if (now >= known.retryAt) return this.#begin(key, request, known.state.trouble);
    if (now >= known.nextAt) {
      const quoted = JSON.stringify(request.reference);
      const { reason, message } = known.state.trouble;
      this.#recorder.event(request.about, "Normal", "BackOff", `Back-off pulling image ${quoted}`);
      known.state = {
        kind: "failed",
        trouble: { reason: "ImagePullBackOff", message: `Back-off pulling image ${quoted}: ${reason}: ${message}` },
      };
      known.nextAt = known.retryAt;
    }
    this.#wake(known.nextAt - now);
    return known.state;
  }

  /** The next request begins anew. */
  forget(key: string): void {
    this.#attempts.delete(key);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#running);
  }

  #begin(key: string, request: ImageRequest, last: ImageTrouble | undefined): ImageState {
    const attempt: Attempt = { state: { kind: "pulling", last }, nextAt: 0, retryAt: 0, showMs: 0, isSeen: false };
    this.#attempts.set(key, attempt);
    const run = this.#ensure(attempt, request).finally(() => {
      this.#running.delete(run);
      if (!this.#stop.signal.aborted) this.#wake(0);
    });
    this.#running.add(run);
    return attempt.state;
  }

  async #ensure(attempt: Attempt, request: ImageRequest): Promise<void> {
    try {
      attempt.state = { kind: "ready", image: await this.#puller.ensure(request, this.#stop.signal) };
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      const failure =
        error instanceof ImageFailure ? error : new ImageFailure("ErrImagePull", messageOf(error), 10_000, true);
      attempt.state = { kind: "failed", trouble: { reason: failure.reason, message: failure.message } };
      attempt.retryAt = this.#now() + failure.waitMs;
      attempt.showMs = failure.backsOff ? Math.min(SHOW_MS, failure.waitMs / 4) : failure.waitMs;
    }
  }
}
