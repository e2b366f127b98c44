import { randomUUID } from "node:crypto";
import { readdirSync, renameSync, statSync } from "node:fs";
import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { errnoOf } from "#base";
import { digestNamed, hexOf, type Digest } from "#oci";
import { diskFailure } from "./disk-failure.ts";
import { livingHolders } from "./holder.ts";
import type { Layout } from "./layout.ts";
import { lockDirectory, tryLockDirectory } from "./lock.ts";
import type { Records } from "./records.ts";

export interface Collected {
  /** Bytes. */
  readonly freed: number;
  /** Digests of the blobs and manifests whose files are gone. */
  readonly removed: readonly string[];
}

export interface CollectOptions {
  /** What an interrupted pull has fetched so far stays, so that it goes on there. */
  readonly keepUnfinished?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** Files moved aside in one transaction: others wait for the records no longer than that takes. */
const BATCH = 16;

/**
 * Whoever needs something says so in the records before looking whether it is there; it is moved aside inside a write transaction
 * that has seen nobody say so. So nothing is taken from under anybody's eyes, in this process or in another. Freeing the space takes
 * longer, and happens when the records are free again: who is killed in between leaves files in a directory of unfinished work, which
 * the next one to open the store removes.
 */
export async function collect(
  layout: Layout,
  records: Records,
  { keepUnfinished = false, signal }: CollectOptions = {},
): Promise<Collected> {
  let freed = 0;
  const removed: string[] = [];
  // First of all, and without a word in the records: on a full disk this makes the room for what is written to them.
  for (const name of keepUnfinished ? [] : await readdir(layout.ingests)) {
    const locked = tryLockDirectory(join(layout.ingests, name));
    if (locked === undefined) continue;
    await using directory = locked;
    freed += bytesUnder(directory.path);
    directory.discard();
  }

  const living = livingHolders(layout.holders);
  for (const { id, holder } of records.leases()) if (!living.has(holder)) records.deleteLease(id);

  await using aside = await lockDirectory(join(layout.ingests, `collected-${randomUUID()}`), signal);
  aside.discard();
  const moved: string[] = [];
  const moveAside = (path: string, digest: Digest): void => {
    const to = join(aside.path, hexOf(digest));
    if (!renamed(path, to)) return;
    moved.push(to);
    removed.push(digest);
  };
  const free = async (): Promise<void> => {
    for (const path of moved.splice(0)) {
      freed += bytesUnder(path);
      await rm(path, { recursive: true, force: true });
    }
  };

  const snapshots = (await readdir(layout.snapshots)).map((name) => ({ name, hex: name.replace(/\.erofs$/, "") }));
  const unneeded = neededSnapshots(records);
  for (const batch of batches(snapshots.filter(({ hex }) => !unneeded.has(hex)))) {
    signal?.throwIfAborted();
    records.transaction(() => {
      const needed = neededSnapshots(records);
      for (const { name, hex } of batch)
        if (!needed.has(hex)) moveAside(join(layout.snapshots, name), digestNamed(hex));
    });
    await free();
  }

  const needed = neededBlobs(records);
  for (const batch of batches((await readdir(layout.blobs)).filter((hex) => !needed.has(hex)))) {
    signal?.throwIfAborted();
    records.transaction(() => {
      const stillNeeded = neededBlobs(records);
      for (const hex of batch.filter((hex) => !stillNeeded.has(hex))) {
        const digest = digestNamed(hex);
        moveAside(join(layout.blobs, hex), digest);
        records.deleteFormsOfStored(digest);
      }
    });
    await free();
  }
  return { freed, removed };
}

/** False where another one has moved it. */
function renamed(from: string, to: string): boolean {
  try {
    renameSync(from, to);
    return true;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return false;
    throw diskFailure(error, `collecting ${from}`);
  }
}

function neededSnapshots(records: Records): ReadonlySet<string> {
  const manifests = records.manifests().map(({ digest }) => hexOf(digest));
  const leased = records.leases().flatMap(({ blobs }) => blobs.map((digest) => hexOf(digest as Digest)));
  return new Set([...manifests, ...leased]);
}

function neededBlobs(records: Records): ReadonlySet<string> {
  const needed = new Set<string>();
  for (const { parts } of records.manifests()) for (const { stored } of parts) needed.add(hexOf(stored));
  for (const { blobs } of records.leases())
    for (const blob of blobs)
      for (const digest of [blob as Digest, ...records.formsOf(blob)]) needed.add(hexOf(digest));
  return needed;
}

/** Bytes on disk of a file, or of a directory and all below. */
function bytesUnder(path: string): number {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) return 0;
  if (!found.isDirectory()) return found.nlink > 1 ? 0 : found.blocks * 512;
  return readdirSync(path).reduce((sum, name) => sum + bytesUnder(join(path, name)), 0);
}

/** Bytes and inodes of everything under a directory. Files that vanish meanwhile do not count. */
export async function usageOf(path: string): Promise<{ readonly bytes: number; readonly inodes: number }> {
  let bytes = 0;
  let inodes = 0;
  for (const name of await readdir(path).catch(() => [])) {
    const below = join(path, name);
    const found = await stat(below).catch(() => undefined);
    if (found === undefined) continue;
    inodes++;
    bytes += found.blocks * 512;
    if (!found.isDirectory()) continue;
    const inside = await usageOf(below);
    bytes += inside.bytes;
    inodes += inside.inodes;
  }
  return { bytes, inodes };
}

function* batches<T>(items: readonly T[]): Generator<readonly T[]> {
  for (let i = 0; i < items.length; i += BATCH) yield items.slice(i, i + BATCH);
}
