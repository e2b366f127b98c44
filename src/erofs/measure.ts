import { Failure, bytesOf } from "#base";
import type { Node } from "#tree";
import { BLOCK, DIRENT, TARGET_LIMIT } from "./format.ts";
import type { Walk } from "./walk.ts";

/** The modification time that most inodes share: those can be written compact. Whole seconds. */
export function epochOf(nodes: readonly Node[]): number {
  const counts = new Map<number, number>();
  let epoch = 0;
  let most = 0;
  for (const { mtime } of nodes) {
    if (mtime.nanoseconds !== 0 || mtime.seconds < 0) continue;
    const count = (counts.get(mtime.seconds) ?? 0) + 1;
    counts.set(mtime.seconds, count);
    if (count < most || (count === most && mtime.seconds > epoch)) continue;
    epoch = mtime.seconds;
    most = count;
  }
  return epoch;
}

export function isCompact(node: Node, size: number, links: number, epoch: number): boolean {
  const { uid, gid, mtime } = node;
  const isSmall = uid <= 0xffff && gid <= 0xffff && size <= 0xffffffff && links <= 0xffff;
  return isSmall && mtime.seconds === epoch && mtime.nanoseconds === 0;
}

/** (uid_t)-1 is nobody. */
const LAST_ID = 0xfffffffe;

/** What does not fit its field would be cut to something else: an owner of 2^32 to root. @throws Failure INVALID_TREE */
export function checkAttributes(node: Node, path: () => string): void {
  const { mode, uid, gid, mtime } = node;
  const fits =
    isWithin(mode, 0o7777) &&
    isWithin(uid, LAST_ID) &&
    isWithin(gid, LAST_ID) &&
    Number.isSafeInteger(mtime.seconds) &&
    isWithin(mtime.nanoseconds, 999_999_999) &&
    (node.kind !== "file" || isWithin(node.size, Number.MAX_SAFE_INTEGER));
  if (fits) return;
  throw new Failure(
    "INVALID_ARGUMENT",
    "INVALID_TREE",
    `${path()}: its mode, owner, time or size is none that Linux knows: ` +
      `${mode.toString(8)} ${uid}:${gid} ${mtime.seconds}s ${mtime.nanoseconds}ns${node.kind === "file" ? ` ${node.size}` : ""}`,
  );
}

function isWithin(value: number, last: number): boolean {
  return Number.isSafeInteger(value) && value >= 0 && value <= last;
}

/** Whether the node's data lies in blocks of the image. */
export function hasBlocks(node: Node | undefined): boolean {
  return node?.kind === "directory" || node?.kind === "symlink";
}

export function sizeOf(walk: Walk, node: Node, index: number): number {
  if (node.kind === "file") return node.size;
  if (node.kind === "directory") {
    const blocks = directoryBlocks(walk, index);
    return (blocks.length - 1) * BLOCK + (blocks.at(-1)?.bytes ?? 0);
  }
  if (node.kind !== "symlink") return 0;
  const length = bytesOf(node.target).length;
  if (length === 0 || length > TARGET_LIMIT || node.target.includes("\0"))
    throw new Failure(
      "INVALID_ARGUMENT",
      "INVALID_TREE",
      `${walk.path(index)}: a link's target must have 1 to ${TARGET_LIMIT} bytes and no NUL; this one has ${length}`,
    );
  return length;
}

/** The entries of a directory, cut into blocks: each holds whole entries and their names. At least one, since `.` is in it. */
export function directoryBlocks(
  walk: Walk,
  index: number,
): readonly { readonly from: number; readonly bytes: number }[] {
  const first = walk.firstEntry.at(index);
  const end = first + walk.entryCount.at(index);
  const blocks: { from: number; bytes: number }[] = [];
  let block = { from: first, bytes: BLOCK };
  for (let entry = first; entry < end; entry++) {
    const needed = DIRENT.size + walk.nameLength(entry);
    if (block.bytes + needed > BLOCK) blocks.push((block = { from: entry, bytes: 0 }));
    block.bytes += needed;
  }
  return blocks;
}
