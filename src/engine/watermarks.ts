import { statfs } from "node:fs/promises";
import { Failure } from "#base";
import { usageOf, type Store } from "#store";

/** Bytes under the data directory (`50000000000`), or how full its filesystem is (`"85%"`). */
export type Watermark = number | `${number}%`;

export interface Watermarks {
  /** Collecting begins above this … */
  readonly high: Watermark;
  /** … and goes on until it is below this, or nothing is left that is not in use. */
  readonly low: Watermark;
}

/** @throws Failure INVALID_WATERMARKS where the marks make no sense */
export function checkWatermarks(marks: Watermarks): void {
  const wrong = objection(marks);
  if (wrong === undefined) return;
  const what = `the watermarks ${marks.high} (high) and ${marks.low} (low) make no sense: ${wrong}`;
  throw new Failure("INVALID_ARGUMENT", "INVALID_WATERMARKS", what);
}

function objection({ high, low }: Watermarks): string | undefined {
  if (typeof high !== typeof low) return "write bytes or percent for both";
  const [above, below] = [Number.parseFloat(String(high)), Number.parseFloat(String(low))];
  if (!(below >= 0) || !(above >= 0)) return "both must be 0 or more";
  if (typeof high === "string" && above > 100) return "nothing is fuller than 100%";
  return below > above ? "the low one is above the high one" : undefined;
}

/** Bytes of the store above the mark; below it 0 or less. */
export async function excess(store: Store, mark: Watermark): Promise<number> {
  const { root } = store.layout;
  if (typeof mark === "number") return (await usageOf(root)).bytes - mark;
  const { blocks, bavail, bsize } = await statfs(root);
  return (blocks - bavail - (Number.parseFloat(mark) / 100) * blocks) * bsize;
}
