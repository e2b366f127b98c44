import type { Dirent } from "node:fs";
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Pod } from "#k8s";
import { LABELS, type Runtime } from "./cri.ts";
import { entriesOf, specOf, uidOf } from "./pod.ts";
import { podLogsDirectory } from "./sandbox-config.ts";
import { emptyDirectory } from "./volumes.ts";

/** Of a directory tree on disk. */
export interface DiskUse {
  readonly bytes: number;
  readonly inodes: number;
}

export interface ContainerUse {
  readonly name: string;
  /** Since it started. */
  readonly cpuNanoSeconds: number;
  /** Its working set. */
  readonly memoryBytes: number;
  /** What it wrote into its root file system. */
  readonly rootfs: DiskUse;
  readonly logs: DiskUse;
}

/** What one Pod takes of the machine now. */
export interface PodUse {
  readonly containers: readonly ContainerUse[];
  /** Its emptyDirs that lie on disk, by name. */
  readonly volumes: ReadonlyMap<string, DiskUse>;
}

export interface UsagesOptions {
  readonly runtime: Runtime;
  readonly podDirectory: (podUid: string) => string;
  readonly podLogsDir: string;
  readonly now: () => number;
  /** How long the size of a tree is believed before it is walked again, in milliseconds. */
  readonly freshMs: number;
}

type Stats = Awaited<ReturnType<Runtime["listContainerStats"]>>["stats"][number];

const NONE: DiskUse = { bytes: 0, inodes: 0 };

/** Measures Pods: processor, memory and written layers as the runtime counts them, logs and emptyDirs by walking them. */
export class Usages {
  readonly #options: UsagesOptions;
  readonly #walked = new Map<string, { readonly at: number; readonly use: Promise<DiskUse> }>();

  constructor(options: UsagesOptions) {
    this.#options = options;
  }

  /** By the uid of each Pod. */
  async of(pods: readonly Pod[]): Promise<ReadonlyMap<string, PodUse>> {
    const { runtime, podDirectory, podLogsDir } = this.#options;
    const { stats } = await runtime.listContainerStats({}, { timeout: 30_000 });
    const result = new Map<string, PodUse>();
    for (const pod of pods) {
      const uid = uidOf(pod);
      const own = stats.filter(({ attributes }) => attributes?.labels[LABELS.podUid] === uid);
      const containers = entriesOf(pod).map(async ({ container: { name } }): Promise<ContainerUse | undefined> => {
        const one = newestOf(own, name);
        const logs = await this.#walk(join(podLogsDirectory(podLogsDir, pod), name));
        if (!one && logs.inodes === 0) return undefined;
        const { cpu, memory, writableLayer } = one ?? {};
        return {
          name,
          cpuNanoSeconds: Number(cpu?.usageCoreNanoSeconds?.value ?? 0n),
          memoryBytes: Number(memory?.workingSetBytes?.value ?? 0n),
          rootfs: {
            bytes: Number(writableLayer?.usedBytes?.value ?? 0n),
            inodes: Number(writableLayer?.inodesUsed?.value ?? 0n),
          },
          logs,
        };
      });
      const volumes = new Map<string, DiskUse>();
      for (const { name, emptyDir } of specOf(pod).volumes ?? [])
        if (emptyDir && !emptyDir.medium) volumes.set(name, await this.#walk(emptyDirectory(podDirectory(uid), name)));
      const known = (await Promise.all(containers)).filter((one) => one !== undefined);
      result.set(uid, { containers: known, volumes });
    }
    return result;
  }

  #walk(path: string): Promise<DiskUse> {
    const { now, freshMs } = this.#options;
    for (const [key, { at }] of this.#walked) if (now() - at >= freshMs) this.#walked.delete(key);
    const known = this.#walked.get(path);
    if (known) return known.use;
    const use = diskUse(path);
    this.#walked.set(path, { at: now(), use });
    return use;
  }
}

/** A container that ran before under the same name may be counted too. */
function newestOf(stats: readonly Stats[], name: string): Stats | undefined {
  return stats
    .filter(({ attributes }) => attributes?.labels[LABELS.container] === name)
    .toSorted((a, b) => (b.attributes?.metadata?.attempt ?? 0) - (a.attributes?.metadata?.attempt ?? 0))[0];
}

/** All that a Pod has on disk. */
export function diskOf({ containers, volumes }: PodUse): DiskUse {
  return sum([...containers.flatMap(({ rootfs, logs }) => [rootfs, logs]), ...volumes.values()]);
}

export const memoryOf = ({ containers }: PodUse): number =>
  containers.reduce((total, { memoryBytes }) => total + memoryBytes, 0);

function sum(uses: readonly DiskUse[]): DiskUse {
  return uses.reduce((a, b) => ({ bytes: a.bytes + b.bytes, inodes: a.inodes + b.inodes }), NONE);
}

/** What du(1) would say: blocks, each inode once, and nothing that is mounted below. What vanishes meanwhile takes nothing. */
export async function diskUse(path: string): Promise<DiskUse> {
  const top = await lstat(path).catch(() => undefined);
  if (!top) return NONE;
  const seen = new Set<number>();
  let bytes = 0;
  let inodes = 0;
  const queue = [path];
  for (let at = queue.pop(); at !== undefined; at = queue.pop()) {
    const found = await lstat(at).catch(() => undefined);
    if (!found || found.dev !== top.dev || (found.nlink > 1 && !found.isDirectory() && seen.has(found.ino))) continue;
    seen.add(found.ino);
    bytes += found.blocks * 512;
    inodes++;
    if (!found.isDirectory()) continue;
    const entries: Dirent[] = await readdir(at, { withFileTypes: true }).catch(() => []);
    for (const { name } of entries) queue.push(join(at, name));
  }
  return { bytes, inodes };
}
