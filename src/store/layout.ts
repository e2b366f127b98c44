import { accessSync, constants, existsSync, mkdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { hexOf, type Digest } from "#oci";
import { diskFailure } from "./disk-failure.ts";

/** The directories under a data directory. The version is part of the path, so that a later layout can live beside this one. */
export interface Layout {
  readonly root: string;
  /** Final blobs, by the sha256 of their stored bytes. */
  readonly blobs: string;
  /** Unfinished work, one locked directory each: a blob's hex, or `snapshot-<hex>`. Nothing temporary is anywhere else. */
  readonly ingests: string;
  readonly snapshots: string;
  /** One locked file for each process that holds leases. */
  readonly holders: string;
  /** Blobs that did not match their digest, kept for whoever wants to know why. */
  readonly quarantine: string;
  readonly records: string;
}

/** Makes the directories where they are missing. Only root may enter: blobs can be private. */
export function openLayout(dataDir: string): Layout {
  const root = join(dataDir, "v1");
  const layout: Layout = {
    root,
    blobs: join(root, "blobs", "sha256"),
    ingests: join(root, "ingests"),
    snapshots: join(root, "snapshots"),
    holders: join(root, "holders"),
    quarantine: join(root, "quarantine"),
    records: join(root, "records.db"),
  };
  try {
    // Making directories where nothing can be written fails with whatever comes first.
    accessSync(nearest(resolve(dataDir)), constants.W_OK);
    mkdirSync(root, { recursive: true, mode: 0o700 });
    for (const path of [layout.blobs, layout.ingests, layout.snapshots, layout.holders])
      mkdirSync(path, { recursive: true });
  } catch (error) {
    throw diskFailure(error, `opening the data directory ${dataDir}`);
  }
  return layout;
}

/** The path itself if it is there, else the first directory above it that is. */
function nearest(path: string): string {
  return existsSync(path) || dirname(path) === path ? path : nearest(dirname(path));
}

export function blobPath(layout: Layout, stored: Digest): string {
  return join(layout.blobs, hexOf(stored));
}
