import { Failure, errnoOf } from "#base";

/**
 * SQLite's result codes (https://sqlite.org/rescode.html) in the words of the kernel, which it does not pass on. The lower eight bits
 * are the kind; SQLITE_IOERR_SHMSIZE is what a full disk says where the index of the log is made.
 */
const KINDS: Readonly<Record<number, string>> = { 3: "EACCES", 8: "EROFS", 10: "EIO", 13: "ENOSPC", 14: "EIO" };
const SHMSIZE = 4874;

function diskErrnoOf(error: unknown): string | undefined {
  const errno = errnoOf(error);
  if (errno !== "ERR_SQLITE_ERROR") return errno;
  const { errcode = 0 } = error as { readonly errcode?: number };
  return errcode === SHMSIZE ? "ENOSPC" : (KINDS[errcode & 0xff] ?? errno);
}

/** What a failed file operation, or one of the records, means to the person who asked: NO_SPACE, READ_ONLY_STORE or DISK_ERROR. Failures pass untouched. */
export function diskFailure(error: unknown, what: string): unknown {
  const errno = diskErrnoOf(error);
  if (error instanceof Failure || errno === undefined) return error;
  const options = { cause: error };
  if (errno === "ENOSPC" || errno === "EDQUOT")
    return new Failure(
      "RESOURCE_EXHAUSTED",
      "NO_SPACE",
      `${what}: the disk is full; free some space or prune`,
      options,
    );
  if (errno === "EROFS" || errno === "EACCES" || errno === "EPERM")
    return new Failure(
      "FAILED_PRECONDITION",
      "READ_ONLY_STORE",
      `${what}: the data directory cannot be written (${errno}); check its mount and its owner`,
      options,
    );
  if (!/^E[A-Z0-9]+$/.test(errno)) return error;
  return new Failure("INTERNAL", "DISK_ERROR", `${what}: ${errno}`, options);
}
