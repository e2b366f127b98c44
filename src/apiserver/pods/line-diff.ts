/**
 * Unified diffs as Python's difflib makes them, and with it what the API server says of a forbidden change: the longest run
 * of equal lines first, then the same on both of its sides. https://docs.python.org/3/library/difflib.html
 */

/** Lines `a`… of the old text equal lines `b`… of the new one, `size` of them. */
interface Block {
  readonly a: number;
  readonly b: number;
  readonly size: number;
}

/** One stretch of both texts, from and to (not included): equal, or the old replaced by the new. */
interface Stretch {
  readonly isEqual: boolean;
  readonly a: readonly [number, number];
  readonly b: readonly [number, number];
}

/** The unified diff of two texts, without file names; empty where they are the same. */
export function unifiedDiff(before: readonly string[], after: readonly string[], around = 3): string {
  return hunks(stretches(before, after), around)
    .map((hunk) => {
      const range = (side: "a" | "b"): string => rangeOf(hunk[0]![side][0], hunk.at(-1)![side][1]);
      const lines = hunk.flatMap(({ isEqual, a, b }) => [
        ...before.slice(...a).map((line) => `${isEqual ? " " : "-"}${line}\n`),
        ...(isEqual ? [] : after.slice(...b).map((line) => `+${line}\n`)),
      ]);
      return `@@ -${range("a")} +${range("b")} @@\n${lines.join("")}`;
    })
    .join("");
}

function rangeOf(from: number, to: number): string {
  const count = to - from;
  return count === 1 ? `${from + 1}` : `${count === 0 ? from : from + 1},${count}`;
}

/** Changes with the lines around them; a long stretch of equal lines parts two hunks. */
function hunks(all: readonly Stretch[], around: number): Stretch[][] {
  const found: Stretch[][] = [];
  let hunk: Stretch[] = [];
  for (const [i, stretch] of all.entries()) {
    if (!stretch.isEqual) {
      hunk.push(stretch);
      continue;
    }
    const size = stretch.a[1] - stretch.a[0];
    const isLast = i === all.length - 1;
    if (i > 0 && !isLast && size <= 2 * around) {
      hunk.push(stretch);
      continue;
    }
    if (i > 0) found.push([...hunk, slice(stretch, 0, Math.min(around, size))]);
    hunk = isLast ? [] : [slice(stretch, Math.max(0, size - around), size)];
  }
  if (hunk.length > 0) found.push(hunk);
  return found;
}

function slice({ a, b }: Stretch, from: number, to: number): Stretch {
  return { isEqual: true, a: [a[0] + from, a[0] + to], b: [b[0] + from, b[0] + to] };
}

function stretches(before: readonly string[], after: readonly string[]): Stretch[] {
  const found: Stretch[] = [];
  let [a, b] = [0, 0];
  for (const block of [...blocks(before, after), { a: before.length, b: after.length, size: 0 }]) {
    if (block.a > a || block.b > b) found.push({ isEqual: false, a: [a, block.a], b: [b, block.b] });
    [a, b] = [block.a + block.size, block.b + block.size];
    if (block.size > 0) found.push({ isEqual: true, a: [block.a, a], b: [block.b, b] });
  }
  return found;
}

/** The equal runs of both texts, in order, those that touch joined. */
function blocks(before: readonly string[], after: readonly string[]): Block[] {
  const places = placesOf(after);
  const found: Block[] = [];
  const search = (aFrom: number, aTo: number, bFrom: number, bTo: number): void => {
    const { a, b, size } = longest(before, after, places, aFrom, aTo, bFrom, bTo);
    if (size === 0) return;
    if (aFrom < a && bFrom < b) search(aFrom, a, bFrom, b);
    const last = found.at(-1);
    if (last !== undefined && last.a + last.size === a && last.b + last.size === b)
      found[found.length - 1] = { ...last, size: last.size + size };
    else found.push({ a, b, size });
    if (a + size < aTo && b + size < bTo) search(a + size, aTo, b + size, bTo);
  };
  search(0, before.length, 0, after.length);
  return found;
}

/** A text of this many lines has lines too common to begin a run with. */
const LONG = 200;

/** Where each line stands in a text, those that are everywhere left out. */
function placesOf(lines: readonly string[]): Map<string, number[]> {
  const places = new Map<string, number[]>();
  for (const [i, line] of lines.entries()) {
    const known = places.get(line);
    if (known === undefined) places.set(line, [i]);
    else known.push(i);
  }
  const most = lines.length >= LONG ? Math.floor(lines.length / 100) + 1 : Infinity;
  for (const [line, at] of places) if (at.length > most) places.delete(line);
  return places;
}

/** The longest equal run within bounds: of several the first in the old text, then the first in the new one. */
function longest(
  before: readonly string[],
  after: readonly string[],
  places: ReadonlyMap<string, readonly number[]>,
  aFrom: number,
  aTo: number,
  bFrom: number,
  bTo: number,
): Block {
  let [a, b, size] = [aFrom, bFrom, 0];
  let lengths = new Map<number, number>();
  for (let i = aFrom; i < aTo; i++) {
    const next = new Map<number, number>();
    for (const j of places.get(before[i] ?? "") ?? []) {
      if (j < bFrom || j >= bTo) continue;
      const length = (lengths.get(j - 1) ?? 0) + 1;
      next.set(j, length);
      if (length > size) [a, b, size] = [i - length + 1, j - length + 1, length];
    }
    lengths = next;
  }
  while (a > aFrom && b > bFrom && before[a - 1] === after[b - 1]) [a, b, size] = [a - 1, b - 1, size + 1];
  while (a + size < aTo && b + size < bTo && before[a + size] === after[b + size]) size++;
  return { a, b, size };
}
