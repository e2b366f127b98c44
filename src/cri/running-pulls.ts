import type { Progress } from "#base";

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

  /** Bytes over all blobs heard of so far; a total of 0 where one of them does not know its own. */
  of(reference: string): { readonly received: number; readonly total: number } | undefined {
    const blobs = this.#pulls.get(reference);
    if (!blobs || blobs.size === 0) return undefined;
    const all = [...blobs.values()];
    const total = all.some((blob) => blob.total < 0) ? 0 : all.reduce((sum, blob) => sum + blob.total, 0);
    return { received: all.reduce((sum, blob) => sum + blob.received, 0), total };
  }
}
