import { readdirSync, rmSync, statSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { hexOf, type Digest } from "#oci";
import { livingHolders } from "./holder.ts";
import type { Layout } from "./layout.ts";
import { tryLockDirectory } from "./lock.ts";
import type { Records } from "./records.ts";

export interface Collected {
  /** Bytes. */
  readonly freed: number;
  /** Digests of the blobs and manifests whose files are gone. */
  readonly removed: readonly string[];
}

/** Files deleted in one transaction: others wait for the records no longer than that takes. */
const BATCH = 16;

/**
 * Whoever needs something says so in the records before looking whether it is there; deletion happens inside a write transaction
 * that has seen nobody say so. So nothing is deleted under anybody's eyes, in this process or in another.
 */
export async function collect(layout: Layout, records: Records, signal?: AbortSignal): Promise<Collected> {
  const living = livingHolders(layout.holders);
  for (const { id, holder } of records.leases()) if (!living.has(holder)) records.deleteLease(id);

  let freed = 0;
  const removed: string[] = [];
  const remove = (path: string, digest: string) => {
    freed += bytesUnder(path);
    rmSync(path, { recursive: true, force: true });
    removed.push(digest);
  };

  const snapshots = (await readdir(layout.snapshots)).map((name) => ({ name, hex: name.replace(/\.erofs$/, "") }));
  for (const batch of batches(snapshots.filter(({ hex }) => !neededSnapshots(records).has(hex)))) {
    signal?.throwIfAborted();
    records.transaction(() => {
      const needed = neededSnapshots(records);
      for (const { name, hex } of batch) if (!needed.has(hex)) remove(join(layout.snapshots, name), `sha256:${hex}`);
    });
  }

  const needed = neededBlobs(records);
  for (const batch of batches((await readdir(layout.blobs)).filter((hex) => !needed.has(hex)))) {
    signal?.throwIfAborted();
    records.transaction(() => {
      const stillNeeded = neededBlobs(records);
      for (const hex of batch.filter((hex) => !stillNeeded.has(hex))) {
        remove(join(layout.blobs, hex), `sha256:${hex}`);
        records.deleteFormsOfStored(`sha256:${hex}` as Digest);
      }
    });
  }

  for (const name of await readdir(layout.ingests)) {
    const locked = tryLockDirectory(join(layout.ingests, name));
    if (locked === undefined) continue;
    await using directory = locked;
    freed += bytesUnder(directory.path);
    directory.discard();
  }
  return { freed, removed };
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
