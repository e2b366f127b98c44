/** Waits for `promise`, but no longer than the signal allows. What it waits for goes on. */
export async function patiently<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await promise;
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason as Error);
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

interface Flight<T, P> {
  readonly promise: Promise<T>;
  readonly listeners: Set<(progress: P) => void>;
  last: P | undefined;
}

/**
 * Many callers, one piece of work per key. A caller that is aborted stops waiting; the work goes on for the others and for the
 * next one that asks, until the owner of this object ends it.
 */
export class SharedCalls<T, P = never> {
  readonly #flights = new Map<string, Flight<T, P>>();

  /** `started` is true for the one caller whose `work` is being done. */
  run(
    key: string,
    work: (report: (progress: P) => void) => Promise<T>,
    call?: { readonly signal?: AbortSignal | undefined; readonly onProgress?: ((progress: P) => void) | undefined },
  ): { readonly started: boolean; readonly result: Promise<T> } {
    const known = this.#flights.get(key);
    const flight = known ?? this.#start(key, work);
    const listener = call?.onProgress;
    if (listener !== undefined) {
      if (flight.last !== undefined) listener(flight.last);
      flight.listeners.add(listener);
    }
    const result = patiently(flight.promise, call?.signal).finally(() => {
      if (listener !== undefined) flight.listeners.delete(listener);
    });
    return { started: known === undefined, result };
  }

  /** Resolves when nothing is under way any more, however it ended. */
  async settled(): Promise<void> {
    while (this.#flights.size > 0) await Promise.allSettled([...this.#flights.values()].map(({ promise }) => promise));
  }

  #start(key: string, work: (report: (progress: P) => void) => Promise<T>): Flight<T, P> {
    const listeners = new Set<(progress: P) => void>();
    const report = (progress: P) => {
      flight.last = progress;
      for (const listener of listeners) listener(progress);
    };
    const flight: Flight<T, P> = {
      listeners,
      last: undefined,
      promise: Promise.resolve()
        .then(() => work(report))
        .finally(() => this.#flights.delete(key)),
    };
    // Perhaps nobody waits any more when it fails.
    flight.promise.catch(() => undefined);
    this.#flights.set(key, flight);
    return flight;
  }
}
