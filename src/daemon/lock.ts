import { closeSync, openSync, readFileSync, ftruncateSync, writeSync } from "node:fs";
import { join } from "node:path";
import { Failure } from "#base";
import { tryLock } from "#kernel";

/**
 * Keeps a second process of the same kind off this directory, for as long as this one lives.
 *
 * @throws Failure ALREADY_RUNNING, with the other's process ID.
 */
export function lockDirectory(directory: string, command: string): Disposable {
  const path = join(directory, `${command}.lock`);
  const fd = openSync(path, "a+", 0o600);
  if (!tryLock(fd)) {
    const pid = readFileSync(path, "utf8").trim();
    closeSync(fd);
    throw new Failure(
      "FAILED_PRECONDITION",
      "ALREADY_RUNNING",
      `orlop ${command} already runs in ${directory} as process ${pid}: stop it, or choose another --run-dir and --data-dir`,
    );
  }
  ftruncateSync(fd);
  writeSync(fd, `${process.pid}\n`);
  return { [Symbol.dispose]: () => closeSync(fd) };
}
