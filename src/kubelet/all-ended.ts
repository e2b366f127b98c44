import type { ContainerState, ContainerStatus, Pod, PodStatus } from "#k8s";
import { isSidecar, specOf } from "./pod.ts";

const UNKNOWN: ContainerState = {
  terminated: {
    exitCode: 137,
    reason: "ContainerStatusUnknown",
    message: "The container could not be located when the pod was terminated",
  },
};

/**
 * The status of a Pod that is over for good: every container has an end in it, and one that nobody saw end has failed. What came
 * before its turn, in a Pod that was never initialized, stays as it was.
 */
export function allEnded(pod: Pod, status: PodStatus): PodStatus {
  const init = status.initContainerStatuses ?? [];
  const apps = status.containerStatuses ?? [];
  const begun = init.findLastIndex(({ state, lastState }) => !state?.waiting || lastState?.terminated);
  return {
    ...status,
    ...(init.length > 0
      ? { initContainerStatuses: init.map((one, i) => (i <= Math.max(0, begun) ? ended(one) : one)) }
      : {}),
    containerStatuses: hasInitialized(pod, init, apps) ? apps.map(ended) : apps,
  };
}

const ended = (status: ContainerStatus): ContainerStatus =>
  status.state?.terminated ? status : { ...status, state: UNKNOWN };

function hasInitialized(pod: Pod, init: readonly ContainerStatus[], apps: readonly ContainerStatus[]): boolean {
  const container = specOf(pod).initContainers?.at(-1);
  const last = init.at(-1);
  if (!container || !last) return true;
  if (apps.some(({ state, lastState }) => !state?.waiting || lastState?.terminated)) return true;
  if (isSidecar(container)) return last.state?.running !== undefined && last.started === true;
  return (last.state?.terminated ?? last.lastState?.terminated)?.exitCode === 0;
}
