import { type ContainerStatus, type Pod, type PodCondition, type PodStatus, timestamp } from "#k8s";
import { conditionsOf } from "./conditions.ts";
import type { PinnedImage } from "./container-config.ts";
import { containerStatus } from "./container-status.ts";
import { phaseOf } from "./phase.ts";
import { type ContainerKind, entriesOf, isTerminal, qosOf, specOf } from "./pod.ts";
import { type ContainerView, type PodView, readySandbox } from "./pod-view.ts";

/** Why a container does not run yet, as its state shows it. */
export interface Waiting {
  readonly reason: string;
  readonly message?: string | undefined;
}

/** What ends a Pod whatever its containers do. */
export interface ForcedEnd {
  readonly reason: string;
  readonly message: string;
  /** The node ended it, and no fault of its own: the condition DisruptionTarget says so. */
  readonly isDisruption?: boolean;
}

export interface StatusInput {
  readonly pod: Pod;
  readonly view: PodView;
  /** Why a container does not start: what it waits for. */
  readonly waiting: ReadonlyMap<string, Waiting>;
  readonly startedAndReady: (container: ContainerView) => { readonly started: boolean; readonly ready: boolean };
  readonly terminationMessage: (container: ContainerView) => string;
  readonly imageVolumes: ReadonlyMap<string, PinnedImage>;
  readonly runtimeName: string;
  /** The runtime can make all that is mounted below a mount read-only. */
  readonly supportsRecursiveReadOnly: boolean;
  readonly hostIps: readonly string[];
  readonly startTime: string;
  /** What ends the Pod whatever its containers do: its deadline, or a refusal of the node. */
  readonly failed?: ForcedEnd | undefined;
  readonly now: number;
}

/** The status that a Pod's spec and the runtime's view of it make, beside what others wrote into the old one. Pure. */
export function podStatus(input: StatusInput): PodStatus {
  const { pod, view } = input;
  const old = pod.status ?? {};
  const spec = specOf(pod);
  const entries = entriesOf(pod);
  const statuses = (kind: ContainerKind): ContainerStatus[] =>
    entries.filter((entry) => entry.kind === kind).map((entry) => containerStatus(entry, input));
  // Only init containers have an order.
  const byName = (a: ContainerStatus, b: ContainerStatus): number => (a.name < b.name ? -1 : 1);
  const init = statuses("init");
  const apps = statuses("app").sort(byName);
  const ephemeral = statuses("ephemeral").sort(byName);
  const phase = isTerminal(pod) ? (old.phase ?? "Failed") : input.failed ? "Failed" : phaseOf(pod, init, apps);
  const sandbox = readySandbox(view);
  const ips = spec.hostNetwork
    ? [...input.hostIps]
    : [...(sandbox?.ips ?? old.podIPs?.map(({ ip }) => ip ?? "") ?? [])];
  const generation = pod.metadata?.generation;

  return {
    ...old,
    phase,
    ...(input.failed ? { reason: input.failed.reason, message: input.failed.message } : {}),
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    conditions: withDisruption(
      input,
      conditionsOf({ pod, phase, init, apps, hasSandbox: sandbox !== undefined, now: input.now }),
    ),
    hostIP: input.hostIps[0] ?? "",
    hostIPs: input.hostIps.map((ip) => ({ ip })),
    ...(ips.length > 0 ? { podIP: ips[0] ?? "", podIPs: ips.map((ip) => ({ ip })) } : {}),
    startTime: input.startTime,
    qosClass: qosOf(pod),
    ...(init.length > 0 ? { initContainerStatuses: init } : {}),
    containerStatuses: apps,
    ...(ephemeral.length > 0 ? { ephemeralContainerStatuses: ephemeral } : {}),
  };
}

function withDisruption({ pod, failed, now }: StatusInput, conditions: PodCondition[]): PodCondition[] {
  const type = "DisruptionTarget";
  if (!failed?.isDisruption || conditions.some((one) => one.type === type)) return conditions;
  const { generation } = pod.metadata ?? {};
  const condition: PodCondition = {
    type,
    status: "True",
    reason: "TerminationByKubelet",
    message: failed.message,
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    lastTransitionTime: timestamp(now),
  };
  return [...conditions, condition];
}
