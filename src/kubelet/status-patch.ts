import type { Pod, PodCondition, PodStatus } from "#k8s";
import { uidOf } from "./pod.ts";

const OWN_CONDITIONS = new Set([
  "PodReadyToStartContainers",
  "Initialized",
  "Ready",
  "ContainersReady",
  "PodScheduled",
]);

/** Others also say of a Pod that it is being disrupted: an eviction by API, say. */
const isOwn = ({ type, reason }: PodCondition): boolean =>
  OWN_CONDITIONS.has(type) || (type === "DisruptionTarget" && reason === "TerminationByKubelet");

/** A strategic merge patch that sets what a kubelet owns of the status that `pod` has, and leaves others' conditions alone. */
export function statusPatch(pod: Pod, status: PodStatus): object {
  const replace = (list: readonly object[]): object[] => [...list, { $patch: "replace" }];
  const { podIPs, hostIPs, ...rest } = status;
  return {
    metadata: { uid: uidOf(pod) },
    status: {
      ...rest,
      conditions: (status.conditions ?? [])
        .filter(isOwn)
        .map((condition) => ({ ...cleared(condition.type, pod), ...condition })),
      ...(podIPs ? { podIPs: replace(podIPs) } : {}),
      ...(hostIPs ? { hostIPs: replace(hostIPs) } : {}),
    },
  };
}

/** What a merge by type would leave of the condition as it was. */
function cleared(type: string, pod: Pod): object {
  const old = pod.status?.conditions?.find((condition) => condition.type === type);
  return { ...(old?.reason ? { reason: null } : {}), ...(old?.message ? { message: null } : {}) };
}

/** The Pod as the API has it, but with what this kubelet last wrote, which the watch may not have brought back yet. */
export function withOwnStatus(pod: Pod, own: PodStatus | undefined): Pod {
  if (!own) return pod;
  const others = (pod.status?.conditions ?? []).filter((condition) => !isOwn(condition));
  const mine = (own.conditions ?? []).filter(isOwn);
  return { ...pod, status: { ...own, conditions: [...mine, ...others] } };
}
