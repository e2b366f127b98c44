import { Failure } from "#base";
import { SystemError, cString, failed, syscall } from "./libc.ts";

const O_PATH = 0o10000000;
const O_CLOEXEC = 0o2000000;
const RESOLVE_NO_MAGICLINKS = 2;
const RESOLVE_BENEATH = 8;
/** The kernel gives up where somebody renames directories on the way. */
const TRIES = 16;

const openat2 = syscall(437, "int", "void *", "void *", "size_t");

/**
 * Opens what `path` names below the open directory `root`, to be named by its descriptor (O_PATH), whatever it is. Symbolic links
 * are followed as long as they stay below, and nobody who moves things meanwhile can make it leave. The caller closes it.
 * openat2(2), since Linux 5.6
 *
 * @throws Failure UNSAFE_PATH where it leads out; OPEN_FAILED for the rest, with the code NOT_FOUND where nothing is there
 */
export function openBeneath(root: number, path: string): number {
  const how = Buffer.alloc(24);
  how.writeBigUInt64LE(BigInt(O_PATH | O_CLOEXEC), 0);
  how.writeBigUInt64LE(BigInt(RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS), 16);
  for (let i = 1; ; i++) {
    try {
      return openat2(root, cString(path), how, how.length);
    } catch (error) {
      const code = error instanceof SystemError ? error.code : "";
      if (code === "EAGAIN" && i < TRIES) continue;
      if (code === "EXDEV" || code === "ELOOP" || code === "EAGAIN")
        throw new Failure("INVALID_ARGUMENT", "UNSAFE_PATH", `${path} leads out of its directory`, { cause: error });
      throw failed("OPEN_FAILED", `${path} cannot be opened`, error);
    }
  }
}
