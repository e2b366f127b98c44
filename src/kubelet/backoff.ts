interface Entry {
  waitMs: number;
  updatedAt: number;
}

/**
 * Waiting times per key, doubling from `initialMs` to `maxMs`. A key that rested for twice `maxMs` starts anew, as in
 * client-go's flowcontrol.Backoff. Times are milliseconds of the caller's clock.
 */
export class Backoff {
  readonly #initialMs: number;
  readonly #maxMs: number;
  readonly #entries = new Map<string, Entry>();

  constructor(initialMs: number, maxMs: number) {
    this.#initialMs = initialMs;
    this.#maxMs = maxMs;
  }

  /** Notes a failure that happened at `since` and says how long to wait after it. */
  next(key: string, now: number, since: number = now): number {
    const entry = this.#live(key, since);
    const waitMs = entry ? Math.min(entry.waitMs * 2, this.#maxMs) : this.#initialMs;
    this.#entries.set(key, { waitMs, updatedAt: now });
    return waitMs;
  }

  /** What is left to wait after something that ended at `since`, in milliseconds; 0 where nothing failed before. */
  remaining(key: string, now: number, since: number): number {
    const entry = this.#live(key, since);
    return entry ? Math.max(0, entry.waitMs - (now - since)) : 0;
  }

  /** The wait that the last failure set, or 0. */
  waitOf(key: string): number {
    return this.#entries.get(key)?.waitMs ?? 0;
  }

  /** Forgets every key that starts with `prefix`. */
  forget(prefix: string): void {
    for (const key of this.#entries.keys()) if (key.startsWith(prefix)) this.#entries.delete(key);
  }

  #live(key: string, since: number): Entry | undefined {
    const entry = this.#entries.get(key);
    return entry && since - entry.updatedAt > 2 * this.#maxMs ? undefined : entry;
  }
}
