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
