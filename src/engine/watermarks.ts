import { statfs } from "node:fs/promises";
import { Failure, messageOf, type Log } from "#base";
import { usageOf, type Store } from "#store";
import { prune } from "./upkeep.ts";

/** Bytes under the data directory (`50000000000`), or how full its filesystem is (`"85%"`). */
export type Watermark = number | `${number}%`;

export interface Watermarks {
  /** Collecting begins above this … */
  readonly high: Watermark;
  /** … and goes on until it is below this, or nothing is left that is not in use. */
  readonly low: Watermark;
}

/** Collects the least recently used objects when the store has grown beyond the high mark. Never throws. */
export async function keepBelow(store: Store, { high, low }: Watermarks, log: Log, signal: AbortSignal): Promise<void> {
  try {
    const now = await measure(store);
    if (excess(high, now) <= 0) return;
    const downTo = Math.max(0, now.bytes - Math.max(0, excess(low, now)));
    const { freed, removed } = await prune(store, { downTo }, { signal });
    log.info({ freed, removed: removed.length }, "collected, because the store was above its high mark");
  } catch (error) {
    if (!signal.aborted) log.warn({ error: messageOf(error) }, "collecting above the high mark failed");
  }
}

/** @throws Failure INVALID_ARGUMENT where the marks make no sense */
export function checkWatermarks({ high, low }: Watermarks): void {
  const [a, b] = [high, low].map((mark) => Number.parseFloat(String(mark)));
  const sameKind = typeof high === typeof low;
  if (sameKind && a !== undefined && b !== undefined && b >= 0 && b <= a && (typeof high === "number" || a <= 100))
    return;
  throw new Failure(
    "INVALID_ARGUMENT",
    "INVALID_WATERMARKS",
    `the watermarks ${high} and ${low} make no sense: write bytes or percent for both, the high one first`,
  );
}

interface Fill {
  /** Of the store. */
  readonly bytes: number;
  /** Of its filesystem. */
  readonly used: number;
  readonly size: number;
}

async function measure(store: Store): Promise<Fill> {
  const { root } = store.layout;
  const [{ bytes }, { blocks, bavail, bsize }] = await Promise.all([usageOf(root), statfs(root)]);
  return { bytes, used: (blocks - bavail) * bsize, size: blocks * bsize };
}

/** Bytes above the mark; below it 0 or less. */
function excess(mark: Watermark, { bytes, used, size }: Fill): number {
  return typeof mark === "number" ? bytes - mark : used - (Number.parseFloat(mark) / 100) * size;
}
