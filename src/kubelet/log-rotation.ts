import { createReadStream, createWriteStream } from "node:fs";
import { readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";

export interface LogRotation {
  readonly maxBytes: number;
  /** The current file counts. */
  readonly maxFiles: number;
}

/**
 * Moves a container's log aside when it has grown too big, and has the runtime open a new one. Of the files moved aside the newest
 * stays as it is, since a reader may follow it; older ones are compressed, and the oldest removed. Names are upstream's:
 * `0.log.20260102-150405`, `….gz`.
 */
export async function rotateLog(
  path: string,
  { maxBytes, maxFiles }: LogRotation,
  reopen: () => Promise<unknown>,
  now: number,
): Promise<void> {
  const { size } = await stat(path);
  if (size < maxBytes) return;
  const directory = dirname(path);
  const prefix = `${basename(path)}.`;
  const names = (await readdir(directory)).filter((name) => name.startsWith(prefix)).sort();
  for (const name of names.filter((one) => one.endsWith(".tmp"))) await rm(join(directory, name), { force: true });
  const old = names.filter((name) => !name.endsWith(".tmp"));
  // One place is the current file's, one that of the file that is about to be moved aside.
  const kept = maxFiles > 2 ? old.slice(-(maxFiles - 2)) : [];
  for (const name of old) if (!kept.includes(name)) await rm(join(directory, name), { force: true });
  for (const name of kept) if (!name.endsWith(".gz")) await compress(join(directory, name));

  const stamp = new Date(now).toISOString().replace(/[-:]/g, "").replace("T", "-").slice(0, 15);
  const aside = `${path}.${stamp}`;
  await rename(path, aside);
  try {
    await reopen();
  } catch (error) {
    // The runtime still writes to the file that was moved: it must be found under its name.
    await rename(aside, path);
    throw error;
  }
}

async function compress(path: string): Promise<void> {
  await pipeline(createReadStream(path), createGzip(), createWriteStream(`${path}.tmp`));
  await rename(`${path}.tmp`, `${path}.gz`);
  await rm(path);
}
