/** One figure of one contender: `{ what: "2 GiB raw blob", who: "orlop", unit: "s", median: 4.6, runs: [...] }`. */
export interface Row {
  readonly what: string;
  readonly who: string;
  readonly unit: string;
  readonly median: number;
  readonly runs: readonly number[];
  /** The goal in words, where there is one: `≤ 1.15 × curl | tee | sha256sum`. */
  readonly goal?: string;
}

/** A bench says what it does while it does it, and has its figures kept as soon as there are some. */
export type Bench = (say: (line: string) => void, keep: (rows: readonly Row[]) => void) => Promise<void>;

export function median(runs: readonly number[]): number {
  const sorted = [...runs].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? NaN)
    : ((sorted[middle - 1] ?? NaN) + (sorted[middle] ?? NaN)) / 2;
}

export function row(what: string, who: string, unit: string, runs: readonly number[], goal?: string): Row {
  return { what, who, unit, median: median(runs), runs, ...(goal === undefined ? {} : { goal }) };
}
