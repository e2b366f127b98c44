import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { errnoOf, Failure, messageOf } from "#base";
import type { Pod } from "#k8s";
import { qosOf, uidOf, wholeOf } from "./pod.ts";
import { CPU_PERIOD, type GroupLimits, groupLimits } from "./pod-resources.ts";

/**
 * The groups of Pods in the cgroup trees: `<root>/kubepods/pod<uid>` for a guaranteed Pod, and `burstable` or `besteffort` between
 * for the others, as kubelets have them. The runtime makes those of containers below.
 */
export interface Cgroups {
  parentOf(pod: Pod): string;
  /** Makes the Pod's group and sets the limits of the Pod as a whole, again where it is there. @throws Failure CGROUP_FAILED */
  prepare(pod: Pod): Promise<void>;
  /** Removes the Pod's groups from every hierarchy, v1, v2 or both, and ends what still runs in them. Missing is a success. */
  remove(podUid: string): Promise<void>;
  /** The uids of Pods that have groups. */
  list(): Promise<readonly string[]>;
}

const CLASSES = { Guaranteed: "", Burstable: "burstable", BestEffort: "besteffort" } as const;
const MIN_SHARES = 2;
/** A process that is killed is gone a moment later. Tries, and milliseconds between. */
const TRIES = 20;
const PAUSE = 25;

/** @param root `/orlop-<node>`, or with the systemd driver `orlop-<node>.slice` */
export function createCgroups(root: string, driver: "cgroupfs" | "systemd", mountPoint = "/sys/fs/cgroup"): Cgroups {
  if (driver === "systemd") return systemdGroups(root);
  const kubepods = join("/", root, "kubepods");
  const classes = Object.values(CLASSES).map((name) => join(kubepods, name));
  let last: Promise<unknown> = Promise.resolve();
  /** One change at a time: a group that is emptied by one Pod may be filled by the next. */
  const alone = <T>(work: () => Promise<T>): Promise<T> => {
    const done = last.then(work, work);
    last = done.catch(() => undefined);
    return done;
  };

  const hierarchies = async (): Promise<string[]> => {
    if (existsSync(join(mountPoint, "cgroup.controllers"))) return [mountPoint];
    const names = await readdir(mountPoint, { withFileTypes: true }).catch(() => []);
    return names.filter((entry) => entry.isDirectory()).map(({ name }) => join(mountPoint, name));
  };

  const limit = async (path: string, limits: Partial<GroupLimits>): Promise<void> => {
    const places = await placesOf(mountPoint);
    if (places.v2 !== undefined) await enableControllers(places.v2, path);
    if (limits.cpuShares !== undefined) {
      if (places.cpu !== undefined) await write(places.cpu, path, "cpu.shares", String(limits.cpuShares));
      else if (places.v2 !== undefined) await write(places.v2, path, "cpu.weight", String(weightOf(limits.cpuShares)));
    }
    if ("cpuQuota" in limits) {
      const quota = limits.cpuQuota;
      if (places.cpu !== undefined) {
        await write(places.cpu, path, "cpu.cfs_period_us", String(CPU_PERIOD));
        await write(places.cpu, path, "cpu.cfs_quota_us", String(quota ?? -1));
      } else if (places.v2 !== undefined) await write(places.v2, path, "cpu.max", `${quota ?? "max"} ${CPU_PERIOD}`);
    }
    if ("memoryBytes" in limits) {
      const bytes = limits.memoryBytes;
      if (places.memory !== undefined) await write(places.memory, path, "memory.limit_in_bytes", String(bytes ?? -1));
      else if (places.v2 !== undefined) await write(places.v2, path, "memory.max", String(bytes ?? "max"));
    }
  };

  /** Burstable Pods together count as much as they request together. */
  const weighBurstable = async (): Promise<void> => {
    const places = await placesOf(mountPoint);
    const hierarchy = places.cpu ?? places.v2;
    const path = join(kubepods, CLASSES.Burstable);
    if (hierarchy === undefined || !existsSync(join(hierarchy, path))) return;
    const [file, from] =
      places.cpu === undefined ? (["cpu.weight", sharesFrom] as const) : (["cpu.shares", Number] as const);
    let shares = 0;
    for (const name of await groupsIn(join(hierarchy, path)))
      shares += from(await readFile(join(hierarchy, path, name, file), "utf8").catch(() => "1")) || 0;
    await limit(path, { cpuShares: Math.max(MIN_SHARES, shares) });
  };

  return {
    parentOf: (pod) => join(kubepods, CLASSES[qosOf(pod)], `pod${uidOf(pod)}`),
    prepare: (pod) =>
      alone(async () => {
        const qos = qosOf(pod);
        const path = join(kubepods, CLASSES[qos], `pod${uidOf(pod)}`);
        try {
          await limit(path, groupLimits(pod));
          if (qos === "Burstable") await weighBurstable();
          if (qos === "BestEffort") await limit(dirname(path), { cpuShares: MIN_SHARES });
        } catch (error) {
          const why = `failed to ensure that the pod: ${uidOf(pod)} cgroups exist and are correctly applied: ${messageOf(error)}`;
          throw new Failure("INTERNAL", "CGROUP_FAILED", why, { cause: error });
        }
      }),
    remove: (podUid) =>
      alone(async () => {
        for (const hierarchy of await hierarchies()) {
          for (const parent of classes) await removeTree(join(hierarchy, parent, `pod${podUid}`));
          // Also the groups above, when this was their last Pod.
          for (const parent of [...classes].reverse()) await rmdir(join(hierarchy, parent)).catch(() => undefined);
          await rmdir(join(hierarchy, root)).catch(() => undefined);
        }
        await weighBurstable();
      }),
    async list() {
      const found = new Set<string>();
      for (const hierarchy of await hierarchies())
        for (const parent of classes)
          for (const name of await groupsIn(join(hierarchy, parent)))
            if (name.startsWith("pod")) found.add(name.slice("pod".length));
      return [...found];
    },
  };
}

/** The runtime asks systemd for the slices, and systemd removes them when they are empty. */
function systemdGroups(root: string): Cgroups {
  // A dash in a slice's name is a level of the hierarchy.
  const top = `${root.replace(/^\/|\.slice$/g, "").replaceAll("-", "_")}-kubepods`;
  return {
    parentOf(pod) {
      const middle = CLASSES[qosOf(pod)] === "" ? "" : `-${CLASSES[qosOf(pod)]}`;
      return `${top}${middle}-pod${uidOf(pod).replaceAll("-", "_")}.slice`;
    },
    async prepare(pod) {
      if (Object.keys(wholeOf(pod)).length > 0)
        throw new Failure(
          "UNIMPLEMENTED",
          "CGROUP_FAILED",
          "resources of the Pod as a whole are not supported where the runtime has the systemd cgroup driver",
        );
    },
    async remove() {},
    list: async () => [],
  };
}

interface Places {
  /** The v1 hierarchies of these controllers, where they are mounted. */
  readonly cpu: string | undefined;
  readonly memory: string | undefined;
  /** The unified hierarchy, where it has any controller. */
  readonly v2: string | undefined;
}

async function placesOf(mountPoint: string): Promise<Places> {
  const v1 = (name: string): string | undefined =>
    existsSync(join(mountPoint, name, `${name}.stat`)) || existsSync(join(mountPoint, name, "cgroup.procs"))
      ? join(mountPoint, name)
      : undefined;
  for (const unified of [mountPoint, join(mountPoint, "unified")]) {
    const controllers = await readFile(join(unified, "cgroup.controllers"), "utf8").catch(() => "");
    if (controllers.trim() !== "") return { cpu: v1("cpu"), memory: v1("memory"), v2: unified };
  }
  return { cpu: v1("cpu"), memory: v1("memory"), v2: undefined };
}

/** Makes the groups down to `path`, each with the controllers that the one above has. cgroups(7), "Cgroups v2 subtree control" */
async function enableControllers(hierarchy: string, path: string): Promise<void> {
  const parts = path.split("/").filter((part) => part !== "");
  let at = hierarchy;
  for (const part of parts) {
    const has = await readFile(join(at, "cgroup.controllers"), "utf8").catch(() => "");
    const names = has.split(/\s+/).filter((name) => ["cpu", "memory", "pids", "cpuset", "io"].includes(name));
    const wanted = names.map((name) => `+${name}`).join(" ");
    if (wanted !== "") await writeFile(join(at, "cgroup.subtree_control"), wanted);
    at = join(at, part);
    await mkdir(at, { recursive: true });
  }
}

async function write(hierarchy: string, path: string, file: string, value: string): Promise<void> {
  await mkdir(join(hierarchy, path), { recursive: true });
  await writeFile(join(hierarchy, path, file), value);
}

/** v1 counts from 2 to 262144, v2 from 1 to 10000. */
const weightOf = (shares: number): number => 1 + Math.floor(((shares - 2) * 9999) / 262_142);
const sharesFrom = (weight: string): number => 2 + Math.ceil(((Number(weight) - 1) * 262_142) / 9999);

async function groupsIn(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}

/** rmdir(2) from the leaves up: a cgroup's files cannot be deleted. What runs in it is killed: nobody knows it any more. */
async function removeTree(directory: string): Promise<void> {
  for (const name of await groupsIn(directory)) await removeTree(join(directory, name));
  for (let i = 0; i < TRIES; i++) {
    try {
      return await rmdir(directory);
    } catch (error) {
      if (errnoOf(error) !== "EBUSY") return;
    }
    const pids = await readFile(join(directory, "cgroup.procs"), "utf8").catch(() => "");
    for (const pid of pids
      .split("\n")
      .map(Number)
      .filter((one) => one > 0))
      kill(pid);
    await sleep(PAUSE);
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It ended by itself.
  }
}
