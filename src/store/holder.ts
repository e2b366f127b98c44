import { randomUUID } from "node:crypto";
import { closeSync, openSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { tryLock } from "#kernel";
import { diskFailure } from "./disk-failure.ts";
import { isStill } from "./lock.ts";

/** One process (or one engine in it) that holds leases. Its lock dies with it, and then its leases count no more. */
export class Holder implements Disposable {
  readonly id: string;
  readonly #path: string;
  readonly #fd: number;

  constructor(directory: string) {
    for (;;) {
      const id = randomUUID();
      const path = join(directory, id);
      const fd = create(path);
      // Whoever looks between these two steps takes us for dead.
      if (tryLock(fd) && isStill(path, fd)) {
        this.id = id;
        this.#path = path;
        this.#fd = fd;
        return;
      }
      rmSync(path, { force: true });
      closeSync(fd);
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.#path, { force: true });
    closeSync(this.#fd);
  }
}

function create(path: string): number {
  try {
    return openSync(path, "wx", 0o600);
  } catch (error) {
    throw diskFailure(error, `making ${path}`);
  }
}

/** The ids of those that live. The files of the dead are removed. */
export function livingHolders(directory: string): ReadonlySet<string> {
  const living = new Set<string>();
  for (const id of readdirSync(directory)) {
    const path = join(directory, id);
    let fd: number;
    try {
      fd = openSync(path, "r");
    } catch {
      continue;
    }
    if (tryLock(fd)) rmSync(path, { force: true });
    else living.add(id);
    closeSync(fd);
  }
  return living;
}
