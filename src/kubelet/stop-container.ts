import { messageOf } from "#base";
import type { Kubelet } from "./context.ts";
import { referenceTo } from "./events.ts";
import { runHook } from "./hooks.ts";
import type { Pod } from "#k8s";
import type { ContainerEntry } from "./pod.ts";
import type { ContainerView } from "./pod-view.ts";

/** The shortest time between the end of a preStop hook and SIGKILL, in seconds, as upstream has it. */
const MINIMUM_GRACE = 2;

export interface StopRequest {
  readonly pod: Pod;
  readonly container: ContainerView;
  readonly entry: ContainerEntry | undefined;
  readonly message: string;
  readonly graceSeconds: number;
  readonly podIp: string | undefined;
}

/** Ends a container: its preStop hook and SIGTERM within the grace period, then SIGKILL. Already gone is a success. */
export async function stopContainer(kubelet: Kubelet, request: StopRequest): Promise<void> {
  const { pod, container, entry, graceSeconds } = request;
  const about = referenceTo(pod, entry?.fieldPath);
  kubelet.recorder.event(about, "Normal", "Killing", request.message);
  let left = graceSeconds;
  const hook = entry?.container.lifecycle?.preStop;
  if (hook && graceSeconds > 0 && container.state === "running") {
    const started = performance.now();
    try {
      await runHook(kubelet, hook, container.id, entry.container, request.podIp, graceSeconds);
    } catch (error) {
      const message = `PreStopHook failed: ${messageOf(error)}`;
      kubelet.recorder.event(about, "Warning", "FailedPreStopHook", message);
    }
    left -= Math.floor((performance.now() - started) / 1000);
  }
  const timeout = graceSeconds === 0 ? 0 : Math.max(MINIMUM_GRACE, left);
  await kubelet.runtime.stopContainer({ containerId: container.id, timeout: BigInt(timeout) });
}
