import { type ContainerStatus, type Pod, type PodCondition, timestamp } from "#k8s";
import { isSidecar, specOf } from "./pod.ts";

export interface ConditionsInput {
  readonly pod: Pod;
  readonly phase: string;
  readonly init: readonly ContainerStatus[];
  readonly apps: readonly ContainerStatus[];
  readonly hasSandbox: boolean;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

interface Verdict {
  readonly ok: boolean;
  readonly reason?: string;
  readonly message?: string;
}

const YES: Verdict = { ok: true };

/** The conditions of a Pod that are a kubelet's, in upstream's order, and then those of others as they were. */
export function conditionsOf({ pod, phase, init, apps, hasSandbox, now }: ConditionsInput): PodCondition[] {
  const over: Verdict | undefined =
    phase === "Succeeded"
      ? { ok: false, reason: "PodCompleted" }
      : phase === "Failed"
        ? { ok: false, reason: "PodFailed" }
        : undefined;
  const containers = over ?? containersReady(pod, init, apps);
  const verdicts: Readonly<Record<string, Verdict>> = {
    PodReadyToStartContainers: { ok: hasSandbox },
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
        before?.status === status && before.lastTransitionTime ? before.lastTransitionTime : timestamp(now),
    };
  });
  return [...own, ...old.filter(({ type }) => !(type in verdicts))];
}

function initialized(pod: Pod, init: readonly ContainerStatus[], apps: readonly ContainerStatus[]): Verdict {
  if (apps.some(({ state }) => state?.running ?? state?.terminated)) return YES;
  // Once is for ever, also where the runtime has forgotten what ran.
  if (pod.status?.conditions?.some(({ type, status }) => type === "Initialized" && status === "True")) return YES;
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
  const unmet = (specOf(pod).readinessGates ?? []).flatMap(({ conditionType }) => {
    const gate = `pod readiness gate ${JSON.stringify(conditionType)}`;
    const status = pod.status?.conditions?.find(({ type }) => type === conditionType)?.status;
    if (status === undefined) return [`corresponding condition of ${gate} does not exist.`];
    return status === "True" ? [] : [`the status of ${gate} is not "True", but ${status}`];
  });
  return unmet.length === 0 ? YES : { ok: false, reason: "ReadinessGatesNotReady", message: unmet.join(", ") };
}
