import { statfs } from "node:fs/promises";

/** Of one filesystem. Bytes, and inodes. */
export interface DiskSpace {
  readonly capacity: number;
  readonly available: number;
  readonly inodes: number;
  readonly inodesFree: number;
}

export async function diskSpace(path: string): Promise<DiskSpace> {
  const { bsize, blocks, bavail, files, ffree } = await statfs(path);
  return { capacity: blocks * bsize, available: bavail * bsize, inodes: files, inodesFree: ffree };
}

/** Upstream's hard eviction thresholds of the node's own filesystem: under 10 % of the bytes or 5 % of the inodes free. */
export function isUnderPressure({ capacity, available, inodes, inodesFree }: DiskSpace): boolean {
  return available < capacity * 0.1 || (inodes > 0 && inodesFree < inodes * 0.05);
}
