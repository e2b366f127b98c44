import type { ContainerState, ContainerStatus, Pod, PodCondition, PodStatus, VolumeMountStatus } from "#k8s";
import type { PinnedImage } from "./container-config.ts";
import { seconds } from "./time.ts";
import {
  type ContainerEntry,
  entriesOf,
  isSidecar,
  isTerminal,
  qosOf,
  restartPolicyOf,
  specOf,
  statusOf,
} from "./pod.ts";
import { type ContainerView, type PodView, readySandbox } from "./pod-view.ts";

/** Why a container does not run yet, as its state shows it. */
export interface Waiting {
  readonly reason: string;
  readonly message?: string | undefined;
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
  readonly hostIps: readonly string[];
  readonly startTime: string;
  /** What ends the Pod whatever its containers do: its deadline, or a refusal of the node. */
  readonly failed?: { readonly reason: string; readonly message: string } | undefined;
  readonly now: number;
}

/** The status that a Pod's spec and the runtime's view of it make, beside what others wrote into the old one. Pure. */
export function podStatus(input: StatusInput): PodStatus {
  const { pod, view } = input;
  const old = pod.status ?? {};
  const spec = specOf(pod);
  const entries = entriesOf(pod);
  const statuses = (kind: ContainerEntry["kind"]): ContainerStatus[] =>
    entries.filter((entry) => entry.kind === kind).map((entry) => containerStatus(entry, input));
  const init = statuses("init");
  const apps = statuses("app");
  const ephemeral = statuses("ephemeral");
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
    conditions: conditionsOf(input, phase, init, apps),
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

function containerStatus(entry: ContainerEntry, input: StatusInput): ContainerStatus {
  const { container, kind } = entry;
  const all = input.view.containers.filter(({ name }) => name === container.name);
  const [newest, previous] = all;
  const waiting = input.waiting.get(container.name);
  // What the runtime has forgotten, as after an orderly stop of the node, the status remembers.
  const old = newest ? undefined : statusOf(input.pod, container.name);
  const base = {
    name: container.name,
    image: newest?.status.image?.userSpecifiedImage || newest?.status.image?.image || (container.image ?? ""),
    imageID: newest?.status.imageRef ?? old?.imageID ?? "",
    restartCount: newest?.attempt ?? old?.restartCount ?? 0,
    ready: false,
    started: false,
    lastState: {},
    state: {},
    ...(newest
      ? { containerID: containerId(input, newest) }
      : old?.containerID
        ? { containerID: old.containerID }
        : {}),
    ...mountStatuses(entry, input),
  } satisfies ContainerStatus;

  if (newest?.state === "running") {
    const { started, ready } = input.startedAndReady(newest);
    const user = newest.status.user?.linux;
    return {
      ...base,
      started,
      ready: kind === "init" && !isSidecar(container) ? false : ready,
      state: { running: { startedAt: time(newest.status.startedAt) } },
      lastState: previous?.state === "exited" ? terminated(input, previous) : {},
      resources: container.resources ?? {},
      ...(user
        ? {
            user: {
              linux: {
                uid: Number(user.uid),
                gid: Number(user.gid),
                supplementalGroups: user.supplementalGroups.map(Number),
              },
            },
          }
        : {}),
    };
  }
  if (newest?.state === "exited" && !waiting) {
    const done = kind === "init" && newest.status.exitCode === 0;
    return {
      ...base,
      ready: done,
      state: terminated(input, newest),
      lastState: previous?.state === "exited" ? terminated(input, previous) : {},
    };
  }
  const initializing = kind === "app" && (specOf(input.pod).initContainers?.length ?? 0) > 0;
  const state: ContainerState = {
    waiting: waiting
      ? { reason: waiting.reason, ...(waiting.message ? { message: waiting.message } : {}) }
      : { reason: initializing ? "PodInitializing" : "ContainerCreating" },
  };
  const last = old?.state?.terminated ? old.state : (old?.lastState ?? {});
  return { ...base, state, lastState: newest?.state === "exited" ? terminated(input, newest) : last };
}

function mountStatuses({ container }: ContainerEntry, { pod, imageVolumes }: StatusInput) {
  const mounts = container.volumeMounts ?? [];
  if (mounts.length === 0) return {};
  const images = new Set((specOf(pod).volumes ?? []).filter((volume) => volume.image).map(({ name }) => name));
  const volumeMounts = mounts.map((mount): VolumeMountStatus => {
    const pinned = images.has(mount.name) ? imageVolumes.get(mount.name) : undefined;
    return {
      name: mount.name,
      mountPath: mount.mountPath,
      ...(mount.readOnly === undefined ? {} : { readOnly: mount.readOnly }),
      ...(mount.recursiveReadOnly === undefined ? {} : { recursiveReadOnly: mount.recursiveReadOnly }),
      ...(pinned ? { volumeStatus: { image: { imageRef: pinned.imageRef } } } : {}),
    };
  });
  return { volumeMounts };
}

function terminated(input: StatusInput, container: ContainerView): ContainerState {
  const { status } = container;
  const message = input.terminationMessage(container);
  return {
    terminated: {
      exitCode: status.exitCode,
      reason: status.reason || (status.exitCode === 0 ? "Completed" : "Error"),
      ...(message === "" ? {} : { message }),
      startedAt: time(status.startedAt),
      finishedAt: time(status.finishedAt),
      containerID: containerId(input, container),
    },
  };
}

const containerId = (input: StatusInput, container: ContainerView): string => `${input.runtimeName}://${container.id}`;

type Time = NonNullable<NonNullable<ContainerState["running"]>["startedAt"]>;

/** CRI's nanoseconds as the API writes times: whole seconds. */
function time(nanoseconds: bigint): Time {
  return seconds(Number(nanoseconds / 1_000_000n));
}

function phaseOf(pod: Pod, init: readonly ContainerStatus[], apps: readonly ContainerStatus[]): string {
  const spec = specOf(pod);
  for (const [i, status] of init.entries()) {
    const container = spec.initContainers?.[i];
    if (!container) continue;
    const exit = status.state?.terminated ?? status.lastState?.terminated;
    if (isSidecar(container)) {
      if (!status.started && apps.every(({ state, lastState }) => state?.waiting && !lastState?.terminated))
        return "Pending";
    } else if (status.state?.terminated?.exitCode !== 0) {
      return exit && exit.exitCode !== 0 && restartPolicyOf(pod, container, "init") === "Never" ? "Failed" : "Pending";
    }
  }
  let running = 0;
  let stopped = 0;
  let succeeded = 0;
  for (const { state, lastState } of apps) {
    if (state?.running) running++;
    else if (state?.terminated ?? lastState?.terminated) {
      stopped++;
      if ((state?.terminated ?? lastState?.terminated)?.exitCode === 0) succeeded++;
    } else return "Pending";
  }
  if (running > 0) return "Running";
  if (stopped === 0) return "Pending";
  const policy = spec.restartPolicy ?? "Always";
  if (policy === "Always" && !pod.metadata?.deletionTimestamp) return "Running";
  if (stopped === succeeded) return "Succeeded";
  return policy === "Never" || pod.metadata?.deletionTimestamp ? "Failed" : "Running";
}

interface Verdict {
  readonly ok: boolean;
  readonly reason?: string;
  readonly message?: string;
}

const YES: Verdict = { ok: true };

function conditionsOf(
  input: StatusInput,
  phase: string,
  init: readonly ContainerStatus[],
  apps: readonly ContainerStatus[],
): PodCondition[] {
  const { pod, view } = input;
  const over: Verdict | undefined =
    phase === "Succeeded"
      ? { ok: false, reason: "PodCompleted" }
      : phase === "Failed"
        ? { ok: false, reason: "PodFailed" }
        : undefined;
  const containers = over ?? containersReady(pod, init, apps);
  const verdicts: Readonly<Record<string, Verdict>> = {
    PodReadyToStartContainers: { ok: readySandbox(view) !== undefined },
    Initialized: phase === "Succeeded" ? { ok: true, reason: "PodCompleted" } : initialized(pod, init, apps),
    Ready: containers.ok ? gates(pod) : containers,
    ContainersReady: containers,
    PodScheduled: YES,
  };
  const old = pod.status?.conditions ?? [];
  const own = Object.entries(verdicts).map(([type, { ok, reason, message }]): PodCondition => {
    const status = ok ? "True" : "False";
    const before = old.find((condition) => condition.type === type);
    const generation = pod.metadata?.generation;
    return {
      type,
      status,
      ...(reason ? { reason } : {}),
      ...(message ? { message } : {}),
      ...(generation === undefined ? {} : { observedGeneration: generation }),
      lastProbeTime: null as unknown as NonNullable<PodCondition["lastProbeTime"]>,
      lastTransitionTime:
        before?.status === status && before.lastTransitionTime ? before.lastTransitionTime : seconds(input.now),
    };
  });
  return [...own, ...old.filter(({ type }) => !(type in verdicts))];
}

function initialized(pod: Pod, init: readonly ContainerStatus[], apps: readonly ContainerStatus[]): Verdict {
  if (apps.some(({ state }) => state?.running ?? state?.terminated)) return YES;
  const missing = init.filter((status, i) => {
    const container = specOf(pod).initContainers?.[i];
    return container && isSidecar(container) ? !status.started : status.state?.terminated?.exitCode !== 0;
  });
  if (missing.length === 0) return YES;
  const names = missing.map(({ name }) => name).join(" ");
  return { ok: false, reason: "ContainersNotInitialized", message: `containers with incomplete status: [${names}]` };
}

function containersReady(pod: Pod, init: readonly ContainerStatus[], apps: readonly ContainerStatus[]): Verdict {
  const sidecars = init.filter((_, i) => {
    const container = specOf(pod).initContainers?.[i];
    return container !== undefined && isSidecar(container);
  });
  const unready = [...sidecars, ...apps].filter(({ ready }) => !ready).map(({ name }) => name);
  if (unready.length === 0) return YES;
  return { ok: false, reason: "ContainersNotReady", message: `containers with unready status: [${unready.join(" ")}]` };
}

function gates(pod: Pod): Verdict {
  const unmet = (specOf(pod).readinessGates ?? []).filter(
    (gate) => !pod.status?.conditions?.some(({ type, status }) => type === gate.conditionType && status === "True"),
  );
  if (unmet.length === 0) return YES;
  const message = unmet
    .map(({ conditionType }) => {
      const exists = pod.status?.conditions?.some(({ type }) => type === conditionType);
      return `${exists ? "the status of" : "corresponding condition of"} pod readiness gate ${JSON.stringify(conditionType)} ${exists ? 'is not "True", but False' : "does not exist"}.`;
    })
    .join(", ");
  return { ok: false, reason: "ReadinessGatesNotReady", message };
}
