import { setTimeout as sleep } from "node:timers/promises";
import { messageOf } from "#base";
import type { LifecycleHandler, Pod } from "#k8s";
import type { Kubelet } from "./context.ts";
import { referenceTo } from "./events.ts";
import { runHook } from "./hooks.ts";
import type { ContainerEntry } from "./pod.ts";
import type { ContainerView } from "./pod-view.ts";

/** The shortest time between SIGTERM and SIGKILL, in seconds, whatever was asked for, as upstream has it. */
const MINIMUM_GRACE = 2;

export interface StopRequest {
  readonly pod: Pod;
  readonly container: Pick<ContainerView, "id" | "state">;
  readonly entry: ContainerEntry | undefined;
  readonly message: string;
  readonly graceSeconds: number;
  readonly podIp: string | undefined;
  /** Resolves when those have ended that must end before it; its preStop hook does not wait for them. */
  readonly turn?: Promise<unknown>;
}

/** Ends a container: its preStop hook and SIGTERM within the grace period, then SIGKILL. Already gone is a success. */
export async function stopContainer(kubelet: Kubelet, request: StopRequest): Promise<void> {
  const { pod, container, entry, graceSeconds } = request;
  kubelet.recorder.event(referenceTo(pod, entry?.fieldPath), "Normal", "Killing", request.message);
  const started = performance.now();
  const hook = entry?.container.lifecycle?.preStop;
  const runs = entry && hook && container.state === "running";
  if (graceSeconds > 0) {
    const over = new AbortController();
    // A hook that outlasts the grace period ends with its container.
    const limit = sleep(graceSeconds * 1000, undefined, { signal: over.signal }).catch(() => undefined);
    const ready = (runs ? preStop(kubelet, request, entry, hook) : Promise.resolve()).then(() => request.turn);
    await Promise.race([ready, limit]);
    over.abort();
  }
  const left = graceSeconds - Math.floor((performance.now() - started) / 1000);
  const timeout = BigInt(Math.max(MINIMUM_GRACE, left));
  await kubelet.runtime.stopContainer({ containerId: container.id, timeout });
}

async function preStop(
  kubelet: Kubelet,
  { pod, container, podIp }: StopRequest,
  entry: ContainerEntry,
  hook: LifecycleHandler,
): Promise<void> {
  try {
    await runHook(kubelet, hook, { pod, container: entry.container, containerId: container.id, podIp });
  } catch (error) {
    kubelet.log.debug({ container: entry.container.name, error: messageOf(error) }, "preStop hook failed");
    kubelet.recorder.event(referenceTo(pod, entry.fieldPath), "Warning", "FailedPreStopHook", "PreStopHook failed");
  }
}
