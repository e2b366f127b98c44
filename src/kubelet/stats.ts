import type { Pod } from "#k8s";
import type { Kubelet } from "./context.ts";
import { LABELS } from "./cri.ts";
import { nameOf, namespaceOf, uidOf } from "./pod.ts";

/** `/stats/summary`: what the Pods' containers use now, as the runtime counts it. */
export async function statsSummary(kubelet: Kubelet, pods: readonly Pod[]): Promise<object> {
  const { stats } = await kubelet.runtime.listContainerStats({}, { timeout: 30_000 });
  const time = new Date(kubelet.now()).toISOString();
  return {
    node: { nodeName: kubelet.nodeName, startTime: time },
    pods: pods.map((pod) => ({
      podRef: { name: nameOf(pod), namespace: namespaceOf(pod), uid: uidOf(pod) },
      startTime: pod.status?.startTime ?? time,
      containers: stats
        .filter(({ attributes }) => attributes?.labels[LABELS.podUid] === uidOf(pod))
        .map(({ attributes, cpu, memory, writableLayer }) => ({
          name: attributes?.labels[LABELS.container] ?? "",
          cpu: { time, usageCoreNanoSeconds: Number(cpu?.usageCoreNanoSeconds?.value ?? 0n) },
          memory: { time, workingSetBytes: Number(memory?.workingSetBytes?.value ?? 0n) },
          rootfs: {
            time,
            usedBytes: Number(writableLayer?.usedBytes?.value ?? 0n),
            inodesUsed: Number(writableLayer?.inodesUsed?.value ?? 0n),
          },
        })),
    })),
  };
}
