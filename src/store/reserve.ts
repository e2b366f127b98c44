import { rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Layout } from "./layout.ts";

/** What the records need to be opened and to forget something. Bytes. */
const SIZE = 256 * 1024;

/** Puts some space by, so that on a full disk the store can still be opened, and something be removed from it. */
export function keepReserve(layout: Layout): void {
  const path = pathOf(layout);
  if (statSync(path, { throwIfNoEntry: false })?.size === SIZE) return;
  try {
    // Not sparse: zeros take space too.
    writeFileSync(path, Buffer.alloc(SIZE), { mode: 0o600 });
  } catch {
    rmSync(path, { force: true });
  }
}

/** Gives it up. False where there was none. */
export function releaseReserve(layout: Layout): boolean {
  const path = pathOf(layout);
  const isThere = statSync(path, { throwIfNoEntry: false }) !== undefined;
  rmSync(path, { force: true });
  return isThere;
}

function pathOf({ root }: Layout): string {
  return join(root, "reserve");
}
