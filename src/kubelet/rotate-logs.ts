import { join } from "node:path";
import { errnoOf, messageOf } from "#base";
import { cri } from "#wire";
import type { Kubelet } from "./context.ts";
import { ANNOTATIONS, LABELS } from "./cri.ts";
import { type LogRotation, rotateLog } from "./log-rotation.ts";

/** Looks at the logs of all running containers of this node and rotates those that are too big. */
export async function rotateLogs({ runtime, podLogsDir, log, now }: Kubelet, rotation: LogRotation): Promise<void> {
  const { containers } = await runtime.listContainers({
    filter: { state: { state: cri.ContainerState.CONTAINER_RUNNING } },
  });
  for (const { id, labels, annotations } of containers) {
    const pod = `${labels[LABELS.podNamespace]}_${labels[LABELS.podName]}_${labels[LABELS.podUid]}`;
    const path = join(podLogsDir, pod, labels[LABELS.container] ?? "", `${annotations[ANNOTATIONS.restartCount]}.log`);
    try {
      await rotateLog(path, rotation, () => runtime.reopenContainerLog({ containerId: id }), now());
    } catch (error) {
      // Another kubelet's container, or one that has just gone.
      if (errnoOf(error) !== "ENOENT") log.warn({ path, error: messageOf(error) }, "log not rotated");
    }
  }
}
