import type { Progress } from "#base";

/** How far one pull is. Kubelets read it as JSON. */
export interface PullProgress {
  readonly received: number;
  readonly total: number;
  readonly blobs: readonly Progress[];
  /** As in `Progress`. */
  readonly waitsUntil?: number;
}

/** How far the pulls are that run now, by the reference they were asked for. */
export class RunningPulls {
  readonly #pulls = new Map<string, Map<string, Progress>>();

  /** Until disposed, what is noted counts for this reference. Two pulls of one reference are one to the engine, and here. */
  start(reference: string): Disposable & { readonly note: (progress: Progress) => void } {
    const blobs = this.#pulls.get(reference) ?? new Map<string, Progress>();
    this.#pulls.set(reference, blobs);
    return {
      note: (progress) => void blobs.set(progress.digest, progress),
      [Symbol.dispose]: () => {
        if (this.#pulls.get(reference) === blobs) this.#pulls.delete(reference);
      },
    };
  }

  /** Bytes over all blobs heard of so far and of each; a total of 0 where it is not known. */
  of(reference: string): PullProgress | undefined {
    const blobs = this.#pulls.get(reference);
    if (!blobs || blobs.size === 0) return undefined;
    const all = [...blobs.values()];
    const total = all.some((blob) => blob.total < 0) ? 0 : all.reduce((sum, blob) => sum + blob.total, 0);
    const waitsUntil = Math.max(0, ...all.map((blob) => blob.waitsUntil ?? 0));
    return {
      received: all.reduce((sum, blob) => sum + blob.received, 0),
      total,
      blobs: all.map((blob) => ({ digest: blob.digest, received: blob.received, total: Math.max(0, blob.total) })),
      ...(waitsUntil > Date.now() ? { waitsUntil } : {}),
    };
  }
}
