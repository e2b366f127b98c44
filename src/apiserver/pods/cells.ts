import type { ContainerStatus, Pod } from "#k8s";
import { ageOf } from "../kinds/columns.ts";

/** What `kubectl get pods` shows of a Pod, column by column, as upstream's printPod reckons it. */
export function podCells(pod: Pod, now: Date): unknown[] {
  const { metadata, status = {}, spec } = pod;
  const sidecars = new Set(
    (spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === "Always").map(({ name }) => name),
  );
  const isGated = status.conditions?.some((c) => c.type === "PodScheduled" && c.reason === "SchedulingGated") === true;
  let progress = initProgress(pod, sidecars, isGated ? "SchedulingGated" : (status.reason ?? status.phase ?? ""));
  if (progress.isOver || isTrue(pod, "Initialized")) progress = mainProgress(pod, sidecars, progress);
  const { ready, reason, counted } = progress;
  const total = (spec?.containers.length ?? 0) + sidecars.size;
  const gates = spec?.readinessGates ?? [];
  const passed = gates.filter(({ conditionType }) => isTrue(pod, conditionType)).length;
  return [
    metadata?.name ?? "",
    `${ready}/${total}`,
    deletionReason(pod) ?? reason,
    restarts(counted, now),
    ageOf(metadata?.creationTimestamp, now),
    status.podIPs?.[0]?.ip || status.podIP || "<none>",
    spec?.nodeName || "<none>",
    status.nominatedNodeName || "<none>",
    gates.length === 0 ? "<none>" : `${passed}/${gates.length}`,
  ];
}

interface Progress {
  readonly ready: number;
  readonly reason: string;
  /** Those whose restarts count. */
  readonly counted: readonly ContainerStatus[];
  /** Whether nothing that is to run first is still to end. */
  readonly isOver: boolean;
}

const isTrue = ({ status }: Pod, type: string): boolean =>
  status?.conditions?.some((c) => c.type === type && c.status === "True") === true;

type Terminated = NonNullable<NonNullable<ContainerStatus["state"]>["terminated"]>;

const endOf = ({ reason, signal, exitCode }: Terminated): string =>
  reason || (signal ? `Signal:${signal}` : `ExitCode:${exitCode}`);

/** How far the containers are that run first, up to the first that holds the others back. */
function initProgress({ spec, status }: Pod, sidecars: ReadonlySet<string>, reason: string): Progress {
  const statuses = status?.initContainerStatuses ?? [];
  let ready = 0;
  for (const [i, container] of statuses.entries()) {
    const { terminated, waiting } = container.state ?? {};
    if (terminated?.exitCode === 0) continue;
    if (sidecars.has(container.name) && container.started === true) {
      if (container.ready) ready++;
      continue;
    }
    const isWaiting = waiting?.reason && waiting.reason !== "PodInitializing";
    const at = isWaiting ? waiting.reason : `${i}/${spec?.initContainers?.length ?? 0}`;
    const why = terminated === undefined ? at : endOf(terminated);
    return { ready, reason: `Init:${why}`, counted: statuses.slice(0, i + 1), isOver: false };
  }
  return { ready, reason, counted: statuses, isOver: true };
}

/** Once it runs, a Pod is judged by what keeps running. */
function mainProgress(pod: Pod, sidecars: ReadonlySet<string>, init: Progress): Progress {
  const { initContainerStatuses = [], containerStatuses = [] } = pod.status ?? {};
  let { reason } = init;
  let running = 0;
  for (const container of containerStatuses.toReversed()) {
    const { terminated, waiting, running: runs } = container.state ?? {};
    if (waiting?.reason) reason = waiting.reason;
    else if (terminated !== undefined) reason = endOf(terminated);
    else if (container.ready && runs !== undefined) running++;
  }
  if (reason === "Completed" && running > 0) reason = isTrue(pod, "Ready") ? "Running" : "NotReady";
  const counted = [...initContainerStatuses.filter(({ name }) => sidecars.has(name)), ...containerStatuses];
  return { ready: init.ready + running, reason, counted, isOver: true };
}

/** What is shown of a Pod that is to go, whatever its containers do. */
function deletionReason({ metadata, status }: Pod): string | undefined {
  if (metadata?.deletionTimestamp === undefined) return undefined;
  if (status?.reason === "NodeLost") return "Unknown";
  return status?.phase === "Succeeded" || status?.phase === "Failed" ? undefined : "Terminating";
}

function restarts(counted: readonly ContainerStatus[], now: Date): string {
  let count = 0;
  let last: string | undefined;
  for (const { restartCount, lastState } of counted) {
    count += restartCount;
    const finished = lastState?.terminated?.finishedAt;
    if (finished && (last === undefined || finished > last)) last = finished;
  }
  return count > 0 && last !== undefined ? `${count} (${ageOf(last, now)} ago)` : String(count);
}
