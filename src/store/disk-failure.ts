import { Failure, errnoOf } from "#base";

/** What a failed file operation means to the person who asked: NO_SPACE, READ_ONLY_STORE or DISK_ERROR. Failures pass untouched. */
export function diskFailure(error: unknown, what: string): unknown {
  const errno = errnoOf(error);
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
