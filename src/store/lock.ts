import { closeSync, fstatSync, mkdirSync, openSync, statSync } from "node:fs";
import { readdir, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { errnoOf } from "#base";
import { tryLock } from "#kernel";
import { diskFailure } from "./disk-failure.ts";

const LOCK = "lock";
const FIRST_WAIT = 5;
const LONGEST_WAIT = 200;

/** A directory that one holder in the whole machine works in; the holder's death frees it. */
export interface LockedDirectory extends AsyncDisposable {
  readonly path: string;
  /** The work is done: when the lock is released the directory goes, and with it everything in it. */
  discard(): void;
}

/** Waits until the directory is ours. Fair enough for a handful of processes: whoever asks first when it is free gets it. */
export async function lockDirectory(path: string, signal?: AbortSignal): Promise<LockedDirectory> {
  for (let wait = FIRST_WAIT; ; wait = Math.min(wait * 2, LONGEST_WAIT)) {
    const locked = tryLockDirectory(path, true);
    if (locked !== undefined) return locked;
    await sleep(wait, undefined, signal === undefined ? {} : { signal });
  }
}

/** The directory if nobody works in it now; with `create`, made where it is missing. */
export function tryLockDirectory(path: string, create = false): LockedDirectory | undefined {
  const file = join(path, LOCK);
  let fd: number | undefined;
  if (create) make(path);
  try {
    fd = openSync(file, "a", 0o600);
    if (!tryLock(fd) || !isStill(file, fd)) {
      closeSync(fd);
      return undefined;
    }
  } catch (error) {
    if (fd !== undefined) closeSync(fd);
    // Its last holder removed it between two of our steps.
    if (errnoOf(error) === "ENOENT") return undefined;
    throw diskFailure(error, `locking ${path}`);
  }
  const held = fd;
  let done = false;
  return {
    path,
    discard() {
      done = true;
    },
    async [Symbol.asyncDispose]() {
      if (done) await remove(path).catch(() => undefined);
      closeSync(held);
    },
  };
}

/** The lock goes last: from then on the directory may be another one's, who wants to keep what is in it. */
async function remove(path: string): Promise<void> {
  for (const name of await readdir(path))
    if (name !== LOCK) await rm(join(path, name), { recursive: true, force: true });
  await rm(join(path, LOCK), { force: true });
  await rmdir(path);
}

/** Not with `recursive`, which calls every failure a missing directory. */
function make(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw diskFailure(error, `making ${path}`);
  }
}

/** False where the file we locked is no longer the one behind the name. */
export function isStill(file: string, fd: number): boolean {
  const ours = fstatSync(fd);
  const named = statSync(file, { throwIfNoEntry: false });
  return named?.ino === ours.ino && named.dev === ours.dev;
}
