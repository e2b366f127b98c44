import { readFile } from "node:fs/promises";
import { totalmem } from "node:os";
import { messageOf, type Log } from "#base";
import type { Runtime } from "./cri.ts";
import { diskSpace, type DiskSpace } from "./disk.ts";

/** What may run short on a node, by upstream's names: memory, the kubelet's disk, the runtime's disk for images, processes. */
export const SIGNALS = [
  "memory.available",
  "nodefs.available",
  "nodefs.inodesFree",
  "imagefs.available",
  "imagefs.inodesFree",
  "pid.available",
] as const;

export type Signal = (typeof SIGNALS)[number];

/** Bytes, inodes or processes. */
export interface Left {
  readonly available: number;
  readonly capacity: number;
}

/** A signal that is not there cannot be measured here. */
export type Measured = Readonly<Partial<Record<Signal, Left>>>;

/** What is left of the machine now. */
export type Measure = () => Promise<Measured>;

/** From /proc/meminfo, /proc/loadavg and statfs(2); where images lie the runtime says, once. Of several disks the fullest counts. */
export function machineMeasure(rootDir: string, runtime: Runtime, log: Log): Measure {
  let imagePaths: readonly string[] = [];
  const imageDisk = async (): Promise<DiskSpace | undefined> => {
    try {
      if (imagePaths.length === 0) {
        const { imageFilesystems } = await runtime.imageFsInfo({}, { timeout: 10_000 });
        imagePaths = imageFilesystems.map(({ fsId }) => fsId?.mountpoint ?? "").filter((path) => path !== "");
      }
      const disks = await Promise.all(imagePaths.map(diskSpace));
      return disks.toSorted((a, b) => a.available / a.capacity - b.available / b.capacity)[0];
    } catch (error) {
      imagePaths = [];
      log.debug({ error: messageOf(error) }, "the disk of images cannot be measured");
      return undefined;
    }
  };
  return async () => {
    const [memory, processes, node, images] = await Promise.all([
      memoryLeft(),
      processesLeft(),
      diskSpace(rootDir),
      imageDisk(),
    ]);
    return {
      "memory.available": memory,
      ...diskSignals("nodefs", node),
      ...(images ? diskSignals("imagefs", images) : {}),
      ...(processes ? { "pid.available": processes } : {}),
    };
  };
}

/** Filesystems that make inodes as they need them say they have none. */
function diskSignals(name: "nodefs" | "imagefs", { capacity, available, inodes, inodesFree }: DiskSpace): Measured {
  return {
    [`${name}.available`]: { capacity, available },
    ...(inodes > 0 ? { [`${name}.inodesFree`]: { capacity: inodes, available: inodesFree } } : {}),
  };
}

/** What is not in the working set: free, or cached from files that nobody read lately. */
async function memoryLeft(): Promise<Left> {
  const text = await readFile("/proc/meminfo", "utf8");
  const kibibytes = (name: string): number =>
    Number(new RegExp(`^${name.replace(/[()]/g, "\\$&")}:\\s+(\\d+)`, "m").exec(text)?.[1] ?? 0);
  return { capacity: totalmem(), available: (kibibytes("MemFree") + kibibytes("Inactive(file)")) * 1024 };
}

async function processesLeft(): Promise<Left | undefined> {
  const number = async (path: string): Promise<number> => Number(await readFile(path, "utf8"));
  const most = await Promise.all([number("/proc/sys/kernel/pid_max"), number("/proc/sys/kernel/threads-max")]).catch(
    () => undefined,
  );
  // The fourth field is `running/all`. proc_loadavg(5)
  const all = /\/(\d+) /.exec(await readFile("/proc/loadavg", "utf8").catch(() => ""))?.[1];
  if (!most || all === undefined) return undefined;
  const capacity = Math.min(...most);
  return { capacity, available: capacity - Number(all) };
}
