import { fstatSync, ftruncateSync, statfsSync } from "node:fs";
import { Failure } from "#base";
import { SystemError, failed, libc } from "./libc.ts";

const LOCK_EX = 2;
const LOCK_NB = 4;
const FALLOC_FL_KEEP_SIZE = 1;

const flock = libc("flock", "int", "int", "int");
const fallocateCall = libc("fallocate", "int", "int", "int", "int64_t", "int64_t");
const syncfsCall = libc("syncfs", "int", "int");

/**
 * Takes the exclusive advisory lock of the open file `fd` without waiting; false where another open file holds it. It lasts until
 * every copy of `fd` is closed, so the death of the process frees it. flock(2)
 *
 * @throws Failure LOCK_FAILED where the filesystem has no locks.
 */
export function tryLock(fd: number): boolean {
  for (;;) {
    try {
      flock(fd, LOCK_EX | LOCK_NB);
      return true;
    } catch (error) {
      if (error instanceof SystemError && error.code === "EAGAIN") return false;
      if (error instanceof SystemError && error.code === "EINTR") continue;
      throw failed("LOCK_FAILED", "the file cannot be locked", error);
    }
  }
}

/**
 * Reserves disk space for the bytes `offset` to `offset + length` of `fd`, so that writing them cannot fail for lack of it. The
 * file grows to hold them unless `keepSize`. False where the filesystem cannot reserve. fallocate(2)
 *
 * @throws Failure NO_SPACE (code RESOURCE_EXHAUSTED) where there is not enough; FALLOCATE_FAILED for the rest. Then nothing is
 * reserved.
 */
export function fallocate(
  fd: number,
  offset: number,
  length: number,
  options?: { readonly keepSize?: boolean },
): boolean {
  if (length === 0) return true;
  const { size, blocks } = fstatSync(fd);
  // Asked for too much, ext4 takes all there is before it says no, and others on the machine find the disk full meanwhile.
  const { bavail, bsize } = statfsSync(`/proc/self/fd/${fd}`);
  if (offset + length - blocks * 512 > bavail * bsize) throw noSpace(length, `only ${bavail * bsize} are free`);
  for (;;) {
    try {
      fallocateCall(fd, options?.keepSize === true ? FALLOC_FL_KEEP_SIZE : 0, offset, length);
      return true;
    } catch (error) {
      const code = error instanceof SystemError ? error.code : "";
      if (code === "ENOTSUP" || code === "ENOSYS") return false;
      if (code === "EINTR") continue;
      ftruncateSync(fd, size);
      if (code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG") throw noSpace(length, code, error);
      throw failed("FALLOCATE_FAILED", `${length} bytes cannot be reserved on disk`, error);
    }
  }
}

function noSpace(length: number, why: string, cause?: unknown): Failure {
  const message = `${length} bytes cannot be reserved on disk: ${why}; free some space`;
  return new Failure("RESOURCE_EXHAUSTED", "NO_SPACE", message, { cause });
}

/** Writes everything that is dirty on the filesystem of `fd` to disk. syncfs(2) */
export function syncfs(fd: number): void {
  try {
    syncfsCall(fd);
  } catch (error) {
    throw failed("SYNC_FAILED", "the filesystem cannot be synced", error);
  }
}
