import { readFile } from "node:fs/promises";
import type { Pod } from "#k8s";
import type { Kubelet } from "./context.ts";
import { LABELS } from "./cri.ts";
import type { Left, Measured, Signal } from "./measure.ts";
import { defaultInterface, type Interface, interfacesOf } from "./net-dev.ts";
import { nameOf, namespaceOf, specOf, statusOf, uidOf } from "./pod.ts";
import { type ContainerUse, diskOf, type DiskUse, memoryOf, type PodUse } from "./usage.ts";

/** Of proc_stat(5), in nanoseconds: Linux counts in hundredths of a second, whatever it is built with. */
const TICK = 10_000_000;

/**
 * `/stats/summary`: what the node and its Pods use now.
 * The fields are those of k8s.io/kubelet/pkg/apis/stats/v1alpha1.
 */
export async function statsSummary(kubelet: Kubelet, pods: readonly Pod[]): Promise<object> {
  const [measured, uses, pids, cpu] = await Promise.all([
    kubelet.measure(),
    kubelet.usages.of(pods),
    sandboxPids(kubelet),
    nodeProcessor(),
  ]);
  const now = kubelet.now();
  const keys = new Set(["node"]);
  const context: Context = {
    kubelet,
    measured,
    time: new Date(now).toISOString(),
    processor(key, total) {
      keys.add(key);
      const usageNanoCores = kubelet.rates.of(key, now, total);
      return {
        time: context.time,
        ...(usageNanoCores === undefined ? {} : { usageNanoCores }),
        usageCoreNanoSeconds: total,
      };
    },
  };
  const summary = {
    node: {
      nodeName: kubelet.nodeName,
      systemContainers: [],
      startTime: new Date(now - performance.now()).toISOString(),
      cpu: context.processor("node", cpu),
      ...memoryFigures(context),
      ...(await networkFigures(context, "self")),
      ...diskFigures(context, "nodefs", "fs"),
      runtime: diskFigures(context, "imagefs", "imageFs"),
      ...processFigures(context),
    },
    pods: await Promise.all(
      pods
        .filter((pod) => uses.get(uidOf(pod))?.containers.length)
        .map((pod) => podFigures(context, pod, uses.get(uidOf(pod)), pids.get(uidOf(pod)))),
    ),
  };
  kubelet.rates.keep(keys);
  return summary;
}

interface Context {
  readonly kubelet: Kubelet;
  readonly measured: Measured;
  readonly time: string;
  /** Nanoseconds since the start, as the API has them. */
  processor(key: string, total: number): object;
}

async function podFigures(
  context: Context,
  pod: Pod,
  use: PodUse = { containers: [], volumes: new Map() },
  pid: number | undefined,
): Promise<object> {
  const { time } = context;
  const uid = uidOf(pod);
  const total = use.containers.reduce((sum, { cpuNanoSeconds }) => sum + cpuNanoSeconds, 0);
  const disk = (own: DiskUse) => ({ ...leftOf(context, "nodefs"), usedBytes: own.bytes, inodesUsed: own.inodes });
  return {
    podRef: { name: nameOf(pod), namespace: namespaceOf(pod), uid },
    startTime: pod.status?.startTime ?? time,
    containers: use.containers.map((one) => containerFigures(context, pod, one)),
    cpu: context.processor(uid, total),
    memory: { time, workingSetBytes: memoryOf(use) },
    ...(pid === undefined || specOf(pod).hostNetwork ? {} : await networkFigures(context, pid)),
    volume: [...use.volumes].map(([name, own]) => ({ time, ...disk(own), name })),
    "ephemeral-storage": { time, ...disk(diskOf(use)) },
  };
}

function containerFigures(context: Context, pod: Pod, use: ContainerUse): object {
  const { time } = context;
  const startTime = statusOf(pod, use.name)?.state?.running?.startedAt ?? pod.status?.startTime ?? time;
  return {
    name: use.name,
    startTime,
    cpu: context.processor(`${uidOf(pod)}/${use.name}`, use.cpuNanoSeconds),
    memory: { time, workingSetBytes: use.memoryBytes },
    rootfs: { time, ...leftOf(context, "imagefs"), usedBytes: use.rootfs.bytes, inodesUsed: use.rootfs.inodes },
    logs: { time, ...leftOf(context, "nodefs"), usedBytes: use.logs.bytes, inodesUsed: use.logs.inodes },
  };
}

function memoryFigures({ measured, time }: Context): object {
  const left = measured["memory.available"];
  if (!left) return {};
  return { memory: { time, availableBytes: left.available, workingSetBytes: left.capacity - left.available } };
}

function processFigures({ measured, time }: Context): object {
  const left = measured["pid.available"];
  return left ? { rlimit: { time, maxpid: left.capacity, curproc: left.capacity - left.available } } : {};
}

function diskFigures(context: Context, disk: "nodefs" | "imagefs", field: string): object {
  const bytes = context.measured[`${disk}.available`];
  const inodes = context.measured[`${disk}.inodesFree`];
  if (!bytes) return {};
  const used = { usedBytes: usedOf(bytes), ...(inodes ? { inodesUsed: usedOf(inodes) } : {}) };
  return { [field]: { time: context.time, ...leftOf(context, disk), ...used } };
}

/** How much a disk holds and has left, whoever uses the rest. */
function leftOf({ measured }: Context, disk: "nodefs" | "imagefs"): object {
  const of = (signal: Signal, available: string, capacity: string): object => {
    const left = measured[signal];
    return left ? { [available]: left.available, [capacity]: left.capacity } : {};
  };
  return {
    ...of(`${disk}.available`, "availableBytes", "capacityBytes"),
    ...of(`${disk}.inodesFree`, "inodesFree", "inodes"),
  };
}

const usedOf = ({ available, capacity }: Left): number => capacity - available;

/** All interfaces, and the one of the default route beside them. */
async function networkFigures({ time }: Context, pid: number | "self"): Promise<object> {
  const [interfaces, name] = await Promise.all([interfacesOf(pid), defaultInterface(pid)]);
  if (interfaces.length === 0) return {};
  const main: Interface | undefined = interfaces.find((one) => one.name === name) ?? interfaces[0];
  return { network: { time, ...main, interfaces } };
}

/** Processor time of all cores since the machine started, in nanoseconds. */
export async function nodeProcessor(): Promise<number> {
  const [line = ""] = (await readFile("/proc/stat", "utf8").catch(() => "")).split("\n");
  const [, user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = line.split(/\s+/).map(Number);
  return (user + nice + system + irq + softirq + steal) * TICK;
}

/** A process of each Pod's sandbox, by the Pod's uid: what CRI says of it only where it is asked to be verbose. */
async function sandboxPids({ runtime }: Kubelet): Promise<ReadonlyMap<string, number>> {
  const { items } = await runtime.listPodSandbox({ filter: { state: { state: 0 } } }, { timeout: 30_000 });
  const found = await Promise.all(
    items.map(async ({ id, labels }) => {
      const { info } = await runtime
        .podSandboxStatus({ podSandboxId: id, verbose: true }, { timeout: 30_000 })
        .catch(() => ({ info: {} as Record<string, string> }));
      return [labels[LABELS.podUid] ?? "", pidIn(info["info"])] as const;
    }),
  );
  return new Map(found.filter((one): one is readonly [string, number] => one[1] !== undefined));
}

function pidIn(text: string | undefined): number | undefined {
  try {
    const { pid } = JSON.parse(text ?? "") as { readonly pid?: unknown };
    return typeof pid === "number" && pid > 0 ? pid : undefined;
  } catch {
    return undefined;
  }
}
