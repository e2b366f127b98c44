import { realpathSync } from "node:fs";
import { readdir, realpath, stat } from "node:fs/promises";
import { isAbsolute, normalize } from "node:path";
import { Failure, errnoOf, messageOf, type CallOptions, type Log } from "#base";
import { planParts } from "#artifact";
import type { Digest } from "#oci";
import { placeParts, type Mounter, type PlacedPart } from "#snapshot";
import type { ManifestRecord, Store, VolumeRecord } from "#store";
import type { PublishRequest, Volume } from "./engine.ts";
import { manifestOf, missing } from "./objects.ts";

/** Volumes: which target shows which object, on disk before it is mounted, so that a crash leaves nothing unknown. */
export class Volumes {
  readonly #store: Store;
  readonly #mounter: Mounter;
  readonly #log: Log;

  constructor(store: Store, mounter: Mounter, log: Log) {
    this.#store = store;
    this.#mounter = mounter;
    this.#log = log;
  }

  /** @throws Failure NOT_FOUND, INVALID_TARGET, TARGET_MISSING, TARGET_NOT_EMPTY, TARGET_IN_USE, SUBPATH_NOT_FOUND, UNSAFE_PATH … */
  async publish(request: PublishRequest, call?: CallOptions): Promise<Volume> {
    const target = checkedTarget(request.target);
    const real = await realTarget(target);
    const wanted: VolumeRecord = {
      target,
      owner: request.owner,
      manifest: request.digest,
      subPath: request.subPath ?? "",
      exec: request.exec ?? false,
      place: real,
    };
    await using _lock = await this.#mounter.lock(request.digest, call?.signal);
    const known = this.#record(wanted);
    const isNew = known === undefined;
    if (!isNew && placeOf(known) !== real) {
      // A symlink on the way leads elsewhere by now.
      this.#unmount(known);
      this.#store.records.moveVolume(target, real);
    }
    if (!isNew && this.#mounter.isMounted(request.digest, real)) return volumeOf(wanted, true);
    try {
      await checkEmpty(real);
      const record = this.#manifest(request.digest);
      this.#store.records.touchManifest(request.digest, Date.now());
      const { manifest, subPath, exec } = wanted;
      await this.#mounter.mount({ manifest, parts: partsOf(record), subPath, target: real, exec });
    } catch (error) {
      if (isNew) this.#forget(wanted);
      throw error;
    }
    return volumeOf(wanted, true);
  }

  async unpublish(owner: string, target?: string): Promise<void> {
    const only = target === undefined ? undefined : checkedTarget(target);
    for (const volume of this.#store.records.volumesOfOwner(owner)) {
      if (only !== undefined && volume.target !== only) continue;
      await using _lock = await this.#mounter.lock(volume.manifest);
      // While this one waited another may have unmounted it, and something else may be there now.
      const now = this.#store.records.volume(volume.target);
      if (now?.owner !== owner || now.manifest !== volume.manifest) continue;
      this.#unmount(now);
      this.#forget(volume);
    }
  }

  list(): readonly Volume[] {
    const mounts = this.#mounter.table();
    return this.#store.records
      .volumes()
      .map((volume) => volumeOf(volume, this.#mounter.isMounted(volume.manifest, placeOf(volume), mounts)));
  }

  /** Unmounts what no record names: a process was killed between unmounting a volume and its superblock. */
  async recover(): Promise<void> {
    for (const manifest of this.#mounter.mounted()) {
      await using _lock = await this.#mounter.lock(manifest);
      if (this.#store.records.volumesOfManifest(manifest).length > 0) continue;
      try {
        this.#mounter.release(manifest);
      } catch (error) {
        this.#log.warn({ digest: manifest, error: messageOf(error) }, "a mount without volumes could not be undone");
      }
    }
  }

  #unmount(volume: VolumeRecord): void {
    const place = placeOf(volume);
    if (this.#mounter.isMounted(volume.manifest, place)) this.#mounter.unmount(place);
  }

  /** Undefined where the volume is new. @throws Failure TARGET_IN_USE where the target shows something else */
  #record(wanted: VolumeRecord): VolumeRecord | undefined {
    const { records } = this.#store;
    return records.transaction(() => {
      const known = records.volume(wanted.target);
      if (known === undefined) {
        this.#manifest(wanted.manifest);
        records.putVolume(wanted);
        return undefined;
      }
      const { owner, manifest, subPath, exec } = known;
      const same = manifest === wanted.manifest && subPath === wanted.subPath && exec === wanted.exec;
      if (same && owner === wanted.owner) return known;
      throw new Failure(
        "ALREADY_EXISTS",
        "TARGET_IN_USE",
        `${wanted.target} shows ${manifest} for ${owner} already; unmount it first`,
      );
    });
  }

  #forget(volume: VolumeRecord): void {
    this.#store.records.deleteVolume(volume.target);
    if (this.#store.records.volumesOfManifest(volume.manifest).length === 0) this.#mounter.release(volume.manifest);
  }

  #manifest(digest: Digest): ManifestRecord {
    const record = this.#store.records.manifest(digest);
    if (record === undefined) throw missing(digest);
    return record;
  }
}

/** The parts of a recorded manifest, as they were when it was pulled. */
export function partsOf(record: ManifestRecord): readonly PlacedPart[] {
  return placeParts(planParts(manifestOf(record), record.config).parts, record.parts);
}

function volumeOf({ owner, manifest, target, subPath, exec }: VolumeRecord, mounted: boolean): Volume {
  return { owner, digest: manifest, target, subPath, exec, mounted };
}

function checkedTarget(target: string): string {
  if (isAbsolute(target)) return normalize(target).replace(/(?<=.)\/$/, "");
  throw new Failure("INVALID_ARGUMENT", "INVALID_TARGET", `the target ${JSON.stringify(target)} must be absolute`);
}

/** Where the volume is mounted, whatever has become of its target since. */
function placeOf({ target, place }: VolumeRecord): string {
  if (place !== "") return place;
  try {
    return realpathSync(target);
  } catch {
    return target;
  }
}

/** Where the kernel will see the mount. */
async function realTarget(target: string): Promise<string> {
  try {
    return await realpath(target);
  } catch (cause) {
    const missing = errnoOf(cause) === "ENOENT";
    throw new Failure(
      missing ? "NOT_FOUND" : "FAILED_PRECONDITION",
      missing ? "TARGET_MISSING" : "TARGET_UNUSABLE",
      `the target ${target} ${missing ? "does not exist; make it first" : `cannot be used: ${messageOf(cause)}`}`,
      { cause },
    );
  }
}

async function checkEmpty(target: string): Promise<void> {
  if (!(await stat(target)).isDirectory() || (await readdir(target)).length === 0) return;
  throw new Failure(
    "FAILED_PRECONDITION",
    "TARGET_NOT_EMPTY",
    `the target ${target} is not empty; choose another directory or empty it`,
  );
}
