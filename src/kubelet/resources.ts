import type { Pod } from "#k8s";
import type { LinuxResources } from "./cri.ts";
import { type AnyContainer, qosOf, specOf } from "./pod.ts";
import { CPU_PERIOD, podLevel, quotaOf, sharesOf } from "./pod-resources.ts";
import { parseQuantity } from "./quantity.ts";

/**
 * A container's requests and limits as cgroup settings, the out-of-memory score by the Pod's quality of service. A container
 * without a limit has that of its Pod as a whole.
 */
export function resourcesOf(pod: Pod, container: AnyContainer, nodeMemory: number): LinuxResources {
  const { requests, limits } = container.resources ?? {};
  const whole = podLevel(pod, "limits");
  const cpuLimit = parseQuantity(limits?.cpu) || whole["cpu"];
  const cpuRequest = parseQuantity(requests?.cpu) ?? parseQuantity(limits?.cpu);
  const memoryLimit = parseQuantity(limits?.memory) || whole["memory"];
  return {
    cpuPeriod: BigInt(CPU_PERIOD),
    cpuQuota: cpuLimit ? BigInt(quotaOf(cpuLimit)) : 0n,
    cpuShares: BigInt(sharesOf(cpuRequest ?? 0)),
    memoryLimitInBytes: memoryLimit ? BigInt(Math.floor(memoryLimit)) : 0n,
    oomScoreAdj: BigInt(oomScoreAdj(pod, container, nodeMemory)),
  };
}

function oomScoreAdj(pod: Pod, container: AnyContainer, nodeMemory: number): number {
  if (specOf(pod).priorityClassName === "system-node-critical") return -997;
  const qos = qosOf(pod);
  if (qos === "Guaranteed") return -997;
  if (qos === "BestEffort") return 1000;
  const request = memoryRequest(container) + unclaimedMemory(pod);
  const score = 1000 - Math.floor((1000 * request) / Math.max(1, nodeMemory));
  return Math.min(999, Math.max(3, score));
}

/** What a Pod as a whole requests beyond what its containers do, shared evenly among them. */
function unclaimedMemory(pod: Pod): number {
  const whole = podLevel(pod, "requests")["memory"] ?? 0;
  const containers = [...specOf(pod).containers, ...(specOf(pod).initContainers ?? [])];
  const claimed = containers.reduce((sum, container) => sum + memoryRequest(container), 0);
  return Math.max(0, whole - claimed) / Math.max(1, containers.length);
}

const memoryRequest = ({ resources }: AnyContainer): number => parseQuantity(resources?.requests?.["memory"]) ?? 0;
