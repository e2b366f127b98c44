/** Processor time as a rate: what was used between two looks, per second. */
export class ProcessorRates {
  readonly #looks = new Map<
    string,
    { readonly at: number; readonly total: number; readonly rate: number | undefined }
  >();
  readonly #leastMs: number;

  /** @param leastMs two looks nearer than this tell too little: the rate of before is given again */
  constructor(leastMs: number) {
    this.#leastMs = leastMs;
  }

  /** Nanoseconds of processor time per second; undefined at the first look. `at` in milliseconds, `total` in nanoseconds. */
  of(key: string, at: number, total: number): number | undefined {
    const before = this.#looks.get(key);
    if (before && at - before.at < this.#leastMs && total >= before.total) return before.rate;
    // A container that started again counts from nothing.
    const rate =
      before && total >= before.total ? Math.round(((total - before.total) * 1000) / (at - before.at)) : undefined;
    this.#looks.set(key, { at, total, rate });
    return rate;
  }

  /** Keeps what these keys had and forgets the rest. */
  keep(keys: ReadonlySet<string>): void {
    for (const key of this.#looks.keys()) if (!keys.has(key)) this.#looks.delete(key);
  }
}
