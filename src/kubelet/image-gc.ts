import { type Log, messageOf } from "#base";
import type { ObjectReference } from "#k8s";
import type { Runtime } from "./cri.ts";
import type { DiskSpace } from "./disk.ts";
import type { EventRecorder } from "./events.ts";
import type { Metrics } from "./metrics.ts";
import type { PullRecords } from "./pull-records.ts";

export interface ImageCollectorOptions {
  readonly runtime: Runtime;
  readonly records: PullRecords;
  readonly metrics: Metrics;
  readonly recorder: EventRecorder;
  readonly node: ObjectReference;
  readonly log: Log;
  /** Ids that Pods need beside what the runtime's containers show: volumes that no container mounts yet. */
  readonly needed: () => Iterable<string>;
  readonly space: (path: string) => Promise<DiskSpace>;
  readonly now: () => number;
  /** Percent of the disk in use at which collection begins, and down to which it goes. */
  readonly highPercent: number;
  readonly lowPercent: number;
  /** An image younger than this is left alone; milliseconds. */
  readonly minAgeMs: number;
  /** One unused for longer goes in any case; 0: never. */
  readonly maxAgeMs: number;
}

interface Known {
  readonly firstSeen: number;
  lastUsed: number;
  size: number;
  pinned: boolean;
}

/** Removes images that nobody uses, the longest unused first, when the disk gets full. */
export class ImageCollector {
  readonly #options: ImageCollectorOptions;
  readonly #known = new Map<string, Known>();

  constructor(options: ImageCollectorOptions) {
    this.#options = options;
  }

  /** One pass. */
  async collect(): Promise<void> {
    const { maxAgeMs, now, recorder, node, records } = this.#options;
    const begun = now();
    const used = await this.#look();
    if (maxAgeMs > 0) {
      for (const [id, image] of this.#candidates(used))
        if (image.lastUsed > 0 ? now() - image.lastUsed > maxAgeMs : now() - image.firstSeen > maxAgeMs)
          await this.#remove(id, "age");
    }
    for (const path of await this.#imageDisks()) {
      const wanted = await this.#excess(path);
      if (wanted <= 0) continue;
      const freed = await this.#free(wanted, used);
      if (freed >= wanted) continue;
      const message = `Failed to garbage collect required amount of images. Attempted to free ${wanted} bytes, but only found ${freed} bytes eligible to free.`;
      recorder.event(node, "Warning", "FreeDiskSpaceFailed", message);
    }
    await records.prune(new Set(this.#known.keys()), begun);
  }

  /** Removes every image that nobody uses and that is old enough. */
  async removeUnused(): Promise<void> {
    await this.#free(Number.POSITIVE_INFINITY, await this.#look());
  }

  /** Where images lie, one path per filesystem. */
  async #imageDisks(): Promise<string[]> {
    const { imageFilesystems } = await this.#options.runtime.imageFsInfo({});
    return imageFilesystems.map(({ fsId }) => fsId?.mountpoint ?? "").filter((path) => path !== "");
  }

  async #excess(path: string): Promise<number> {
    const { space, highPercent, lowPercent } = this.#options;
    const { capacity, available } = await space(path);
    if (capacity === 0 || 100 - Math.floor((available * 100) / capacity) < highPercent) return 0;
    return Math.floor((capacity * (100 - lowPercent)) / 100) - available;
  }

  /** Learns what there is, and returns the ids that are in use. */
  async #look(): Promise<Set<string>> {
    const { runtime, needed, now } = this.#options;
    const [{ images }, { containers }] = await Promise.all([runtime.listImages({}), runtime.listContainers({})]);
    const used = new Set<string>(needed());
    for (const { id, imageRef, imageId } of containers) {
      for (const name of [imageRef, imageId]) if (name) used.add(name);
      const { status } = await runtime.containerStatus({ containerId: id }).catch(() => ({ status: undefined }));
      for (const name of [
        status?.imageRef,
        status?.imageId,
        ...(status?.mounts ?? []).map((mount) => mount.image?.image),
      ])
        if (name) used.add(name);
    }
    const here = new Set(images.map(({ id }) => id));
    for (const id of this.#known.keys()) if (!here.has(id)) this.#known.delete(id);
    for (const { id, size, pinned, repoDigests, repoTags } of images) {
      const names = [id, ...repoDigests, ...repoTags];
      if (names.some((name) => used.has(name))) used.add(id);
      const known = this.#known.get(id) ?? { firstSeen: now(), lastUsed: 0, size: 0, pinned: false };
      if (used.has(id)) known.lastUsed = now();
      this.#known.set(id, Object.assign(known, { size: Number(size), pinned }));
    }
    return used;
  }

  #candidates(used: ReadonlySet<string>): [string, Known][] {
    const { now, minAgeMs } = this.#options;
    return [...this.#known]
      .filter(([id, image]) => !used.has(id) && !image.pinned && now() - image.firstSeen >= minAgeMs)
      .sort(([, a], [, b]) => a.lastUsed - b.lastUsed || a.firstSeen - b.firstSeen);
  }

  async #free(wanted: number, used: ReadonlySet<string>): Promise<number> {
    let freed = 0;
    for (const [id, { size }] of this.#candidates(used)) {
      if (freed >= wanted) break;
      if (await this.#remove(id, "space")) freed += size;
    }
    return freed;
  }

  async #remove(id: string, reason: "space" | "age"): Promise<boolean> {
    const { runtime, metrics, log } = this.#options;
    try {
      await runtime.removeImage({ image: { image: id } });
    } catch (error) {
      // In use after all: the runtime knows best.
      log.warn({ image: id, error: messageOf(error) }, "image not removed");
      return false;
    }
    this.#known.delete(id);
    metrics.collected.inc({ reason });
    return true;
  }
}
