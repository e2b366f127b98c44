import type { ByteRange } from "#oci";

/** Which bytes of a blob are there: half-open ranges, sorted, never touching one another. */
export class RangeSet {
  readonly #ranges: { start: number; end: number }[] = [];

  add(start: number, end: number): void {
    if (end <= start) return;
    let first = 0;
    while (first < this.#ranges.length && (this.#ranges[first]?.end ?? 0) < start) first++;
    let last = first;
    const merged = { start, end };
    for (let range = this.#ranges[last]; range !== undefined && range.start <= end; range = this.#ranges[++last]) {
      merged.start = Math.min(merged.start, range.start);
      merged.end = Math.max(merged.end, range.end);
    }
    this.#ranges.splice(first, last - first, merged);
  }

  /** What lacks between 0 and `size`, ascending. */
  missing(size: number): readonly ByteRange[] {
    const gaps: ByteRange[] = [];
    let at = 0;
    for (const range of this.#ranges) {
      if (range.start >= size) break;
      if (range.start > at) gaps.push({ start: at, end: range.start });
      at = range.end;
    }
    if (at < size) gaps.push({ start: at, end: size });
    return gaps;
  }

  /** How many bytes from 0 on are there without a gap. */
  get prefix(): number {
    const first = this.#ranges[0];
    return first?.start === 0 ? first.end : 0;
  }

  get bytes(): number {
    return this.#ranges.reduce((sum, range) => sum + range.end - range.start, 0);
  }

  *[Symbol.iterator](): Iterator<ByteRange> {
    for (const range of this.#ranges) yield { ...range };
  }
}
