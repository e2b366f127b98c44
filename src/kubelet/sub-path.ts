import { chown, type FileHandle, mkdir, open, stat } from "node:fs/promises";
import { closeSync, constants } from "node:fs";
import { errnoOf, Failure, isFailure } from "#base";
import { openBeneath } from "#kernel";

/** Something in a volume, held open. */
export interface SubPath extends AsyncDisposable {
  /** A name for it that no rename changes, in this process, until it is disposed. */
  readonly path: string;
  readonly isDirectory: boolean;
}

/**
 * Opens `subPath` inside a volume's directory. Missing directories are made, as kubelets do, with the owner and mode of the
 * volume. Whoever can write to the volume may swap names for symbolic links meanwhile: none leads out.
 *
 * @throws Failure UNSAFE_PATH where it, or a symbolic link on its way, leaves the volume
 */
export async function openSubPath(volumePath: string, subPath: string): Promise<SubPath> {
  const parts = subPath.split("/").filter((part) => part !== "" && part !== ".");
  if (subPath.startsWith("/") || parts.includes("..")) throw unsafe(subPath);
  await using root = await openRoot(volumePath);
  let fd = openBeneath(root.fd, ".");
  try {
    for (const [i] of parts.entries()) {
      const next = await step(root.fd, fd, parts.slice(0, i + 1));
      closeSync(fd);
      fd = next;
    }
    const path = nameOf(fd);
    const isDirectory = (await stat(path)).isDirectory();
    const held = fd;
    return { path, isDirectory, [Symbol.asyncDispose]: async () => closeSync(held) };
  } catch (error) {
    closeSync(fd);
    throw isFailure(error, "UNSAFE_PATH") ? unsafe(subPath) : error;
  }
}

const nameOf = (fd: number): string => `/proc/self/fd/${fd}`;

function openRoot(volumePath: string): Promise<FileHandle> {
  return open(volumePath, constants.O_RDONLY | constants.O_DIRECTORY);
}

/** Opens one part more of the path, and makes it in the open directory `parent` where it is missing. */
async function step(root: number, parent: number, parts: readonly string[]): Promise<number> {
  const path = parts.join("/");
  const found = openIfThere(root, path);
  if (found !== undefined) return found;
  const { mode, uid, gid } = await stat(nameOf(root));
  let isMade = true;
  await mkdir(`${nameOf(parent)}/${parts.at(-1)}`, { mode: mode & 0o7777 }).catch((error: unknown) => {
    if (errnoOf(error) !== "EEXIST") throw error;
    isMade = false;
  });
  const made = openIfThere(root, path);
  // There, and not to be opened: a link to nowhere, and where that leads is not ours to make.
  if (made === undefined) throw unsafe(path);
  if (isMade) await chown(nameOf(made), uid, gid);
  return made;
}

function openIfThere(root: number, path: string): number | undefined {
  try {
    return openBeneath(root, path);
  } catch (error) {
    if (isFailure(error) && error.code === "NOT_FOUND") return undefined;
    throw error;
  }
}

function unsafe(subPath: string): Failure {
  return new Failure("INVALID_ARGUMENT", "UNSAFE_PATH", `subPath ${JSON.stringify(subPath)} is not within the volume`);
}
