import type { Pod } from "#k8s";
import type { LinuxResources } from "./cri.ts";
import { type AnyContainer, qosOf, specOf } from "./pod.ts";
import { parseQuantity } from "./quantity.ts";

const PERIOD = 100_000;
const MIN_QUOTA = 1000;

/** A container's requests and limits as cgroup settings, the out-of-memory score by the Pod's quality of service. */
export function resourcesOf(pod: Pod, container: AnyContainer, nodeMemory: number): LinuxResources {
  const { requests, limits } = container.resources ?? {};
  const cpuLimit = parseQuantity(limits?.cpu);
  const cpuRequest = parseQuantity(requests?.cpu) ?? cpuLimit;
  const memoryLimit = parseQuantity(limits?.memory);
  return {
    cpuPeriod: BigInt(PERIOD),
    cpuQuota: cpuLimit ? BigInt(Math.max(MIN_QUOTA, Math.round(cpuLimit * PERIOD))) : 0n,
    cpuShares: cpuRequest ? BigInt(Math.max(2, Math.floor(cpuRequest * 1024))) : 2n,
    memoryLimitInBytes: memoryLimit ? BigInt(Math.floor(memoryLimit)) : 0n,
    oomScoreAdj: BigInt(oomScoreAdj(pod, container, nodeMemory)),
  };
}

function oomScoreAdj(pod: Pod, container: AnyContainer, nodeMemory: number): number {
  if (specOf(pod).priorityClassName === "system-node-critical") return -997;
  const qos = qosOf(pod);
  if (qos === "Guaranteed") return -997;
  if (qos === "BestEffort") return 1000;
  const request = parseQuantity(container.resources?.requests?.memory) ?? 0;
  const score = 1000 - Math.floor((1000 * request) / Math.max(1, nodeMemory));
  return Math.min(999, Math.max(3, score));
}
