import { existsSync, mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { errnoOf, Failure, messageOf } from "#base";
import type { Places } from "#cli";
import { hasCapability } from "#kernel";

/** Refuses, before anything is made, where the rights are missing without which nothing can be mounted. */
export function requireRoot(): void {
  if (process.getuid?.() !== 0)
    throw new Failure("PERMISSION_DENIED", "NOT_ROOT", "orlop mounts filesystems, and only root may: run it as root");
  if (!hasCapability("CAP_SYS_ADMIN"))
    throw new Failure(
      "PERMISSION_DENIED",
      "NO_CAP_SYS_ADMIN",
      "root here lacks CAP_SYS_ADMIN, so nothing can be mounted: run the container privileged",
    );
}

/** Makes the data and the run directory, for root's eyes only. */
export function makePlaces(places: Places): void {
  for (const dir of [places.dataDir, places.runDir])
    try {
      make(dir);
    } catch (error) {
      const why = {
        EROFS: "the filesystem is read-only",
        EACCES: "it may not be written",
        ENOTDIR: "a part of it is a file",
        EEXIST: "it is a file",
        ENOENT: "nothing can be made there",
      };
      const reason = why[errnoOf(error) as keyof typeof why] ?? messageOf(error);
      throw new Failure("FAILED_PRECONDITION", "BAD_DIRECTORY", `cannot make ${dir}: ${reason}`, { cause: error });
    }
}

/** Not with `recursive`: where the kernel says ENOENT to everything, as in /proc, Node.js tries for ever. */
function make(dir: string): void {
  if (!existsSync(dirname(dir))) make(dirname(dir));
  try {
    mkdirSync(dir, { mode: 0o700 });
  } catch (error) {
    if (statSync(dir, { throwIfNoEntry: false })?.isDirectory() !== true) throw error;
  }
}
