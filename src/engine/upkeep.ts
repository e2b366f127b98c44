import { mkdirSync, renameSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { Failure, errnoOf, messageOf, type CallOptions, type Log } from "#base";
import { formatReference, hexOf, isDigest, parseReference, type Digest } from "#oci";
import type { Collected, ManifestRecord, Store } from "#store";
import type { FsckFinding, PruneRequest } from "./engine.ts";
import { findRecord } from "./objects.ts";
import { excess, type Watermarks } from "./watermarks.ts";

/** Forgets a reference, or an object with all of them, and frees what nothing else needs. @throws Failure NOT_FOUND, IN_USE */
export async function remove(store: Store, name: string): Promise<void> {
  const { records } = store;
  const removed = records.transaction(() => {
    const record = findRecord(store, name);
    if (record === undefined) throw new Failure("NOT_FOUND", "NOT_FOUND", `${name} is not in the store`);
    const reference = isDigest(name) ? undefined : parseReference(name);
    if (reference !== undefined && reference.digest === undefined && records.referencesOf(record.digest).length > 1) {
      records.deleteReference(formatReference(reference));
      return undefined;
    }
    const [volume] = records.volumesOfManifest(record.digest);
    if (volume !== undefined)
      throw new Failure(
        "FAILED_PRECONDITION",
        "IN_USE",
        `${name} is mounted at ${volume.target} for ${volume.owner}; unmount it first`,
      );
    records.deleteManifest(record.digest);
    return record;
  });
  // An interrupted pull of something else is no part of it.
  if (removed !== undefined) await store.collect({ keepUnfinished: true });
}

/**
 * Deletes what no reference and no volume needs; with `downTo`, then also objects that no volume uses, the least recently used
 * first, until the store is below it.
 */
export async function prune(store: Store, request: PruneRequest = {}, call?: CallOptions): Promise<Collected> {
  const { records } = store;
  for (const { digest } of records.manifests()) dropIf(store, digest, () => records.referencesOf(digest).length === 0);
  let { freed, removed } = await store.collect(call);
  const { above, downTo } = request;
  if (downTo === undefined || (above !== undefined && (await excess(store, above)) <= 0)) return { freed, removed };
  const oldest = records.manifests().toSorted((a, b) => a.usedAt - b.usedAt);
  for (const { digest, usedAt } of oldest) {
    // Measured anew each time: a pull that goes on meanwhile must cost nobody more than it brings.
    if ((await excess(store, downTo)) <= 0) break;
    // Whoever has used it meanwhile keeps it.
    if (!dropIf(store, digest, (now) => now.usedAt === usedAt)) continue;
    const more = await store.collect(call);
    freed += more.freed;
    removed = [...removed, ...more.removed];
  }
  return { freed, removed };
}

/** Collects the least recently used objects when the store has grown beyond the high mark. Never throws. */
export async function keepBelow(store: Store, { high, low }: Watermarks, log: Log, signal: AbortSignal): Promise<void> {
  try {
    if ((await excess(store, high)) <= 0) return;
    const { freed, removed } = await prune(store, { downTo: low }, { signal });
    log.info({ freed, removed: removed.length }, "collected, because the store was above its high mark");
  } catch (error) {
    if (!signal.aborted) log.warn({ error: messageOf(error) }, "collecting above the high mark failed");
  }
}

/**
 * Reads every blob and compares it with its digest. What is wrong is moved aside and, where `mend` can, fetched again; a mount that
 * shows it goes on showing it until its last volume is unmounted.
 */
export async function fsck(
  store: Store,
  log: Log,
  mend: (record: ManifestRecord) => Promise<void>,
  call?: CallOptions,
): Promise<readonly FsckFinding[]> {
  const findings = new Map<string, FsckFinding>();
  const sound = new Set<string>();
  for (const hex of await readdir(store.layout.blobs)) {
    const digest = `sha256:${hex}` as Digest;
    const finding = await checkBlob(store, digest, call);
    if (finding === "sound") sound.add(digest);
    else if (finding !== "gone") {
      log.info(finding, "a blob is not what it should be");
      findings.set(digest, finding);
    }
  }
  for (const record of store.records.manifests()) {
    const lost = record.parts.map(({ stored }) => stored).filter((stored) => !sound.has(stored));
    if (lost.length === 0) continue;
    let outcome = "it was fetched again";
    let isMended = true;
    try {
      await mend(record);
      for (const digest of lost) sound.add(digest);
    } catch (error) {
      call?.signal?.throwIfAborted();
      outcome = `it could not be fetched again: ${messageOf(error)}`;
      isMended = false;
    }
    for (const digest of new Set(lost)) {
      const { path, problem } = findings.get(digest) ?? {
        path: store.path(digest),
        problem: `it is missing, and ${record.digest} needs it`,
      };
      findings.set(digest, { digest, path, problem: `${problem}; ${outcome}`, isMended });
    }
  }
  return [...findings.values()];
}

async function checkBlob(store: Store, digest: Digest, call?: CallOptions): Promise<FsckFinding | "sound" | "gone"> {
  let problem: string;
  try {
    const found = await store.digestOnDisk(digest, call);
    if (found === digest) return "sound";
    problem = `its bytes have the digest ${found}`;
  } catch (error) {
    call?.signal?.throwIfAborted();
    // Collected meanwhile; whatever needs it nevertheless will miss it.
    if (errnoOf(error) === "ENOENT") return "gone";
    problem = `it cannot be read: ${messageOf(error)}`;
  }
  // Only what is not there is fetched again.
  const aside = join(store.layout.quarantine, hexOf(digest));
  mkdirSync(store.layout.quarantine, { recursive: true, mode: 0o700 });
  renameSync(store.path(digest), aside);
  return { digest, path: aside, problem: `${problem}; it was moved aside`, isMended: true };
}

/** Deletes the record of an object that no volume uses and of which `condition` is true. */
function dropIf(store: Store, digest: Digest, condition: (record: ManifestRecord) => boolean): boolean {
  const { records } = store;
  return records.transaction(() => {
    const record = records.manifest(digest);
    if (record === undefined || records.volumesOfManifest(digest).length > 0 || !condition(record)) return false;
    records.deleteManifest(digest);
    return true;
  });
}
