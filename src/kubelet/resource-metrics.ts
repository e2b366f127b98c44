import type { Pod } from "#k8s";
import { Counter, Gauge, Registry } from "#wire";
import type { Kubelet } from "./context.ts";
import { nameOf, namespaceOf, uidOf } from "./pod.ts";
import { nodeProcessor } from "./stats.ts";
import { memoryOf } from "./usage.ts";

/**
 * `/metrics/resource`: processor and memory of the node, its Pods and their containers, as metrics-server reads them.
 * https://kubernetes.io/docs/reference/instrumentation/node-metrics/
 */
export async function resourceMetrics(kubelet: Kubelet, pods: readonly Pod[]): Promise<Registry> {
  const registry = new Registry();
  const registers = [registry];
  const counter = <T extends string>(name: string, help: string, labelNames: readonly T[]): Counter<T> =>
    new Counter({ name, help, labelNames, registers });
  const gauge = <T extends string>(name: string, help: string, labelNames: readonly T[]): Gauge<T> =>
    new Gauge({ name, help, labelNames, registers });
  const ofContainer = ["container", "namespace", "pod"] as const;
  const ofPod = ["namespace", "pod"] as const;
  const containerCpu = counter("container_cpu_usage_seconds_total", "Processor time of a container.", ofContainer);
  const containerMemory = gauge("container_memory_working_set_bytes", "Working set of a container.", ofContainer);
  const podCpu = counter("pod_cpu_usage_seconds_total", "Processor time of a Pod.", ofPod);
  const podMemory = gauge("pod_memory_working_set_bytes", "Working set of a Pod.", ofPod);
  const nodeCpu = counter("node_cpu_usage_seconds_total", "Processor time of the node.", []);
  const nodeMemory = gauge("node_memory_working_set_bytes", "Working set of the node.", []);

  const [measured, uses, cpu] = await Promise.all([kubelet.measure(), kubelet.usages.of(pods), nodeProcessor()]);
  nodeCpu.inc(cpu / 1e9);
  const memory = measured["memory.available"];
  if (memory) nodeMemory.set(memory.capacity - memory.available);
  for (const pod of pods) {
    const use = uses.get(uidOf(pod));
    if (!use?.containers.length) continue;
    const labels = { namespace: namespaceOf(pod), pod: nameOf(pod) };
    for (const { name: container, cpuNanoSeconds, memoryBytes } of use.containers) {
      containerCpu.inc({ container, ...labels }, cpuNanoSeconds / 1e9);
      containerMemory.set({ container, ...labels }, memoryBytes);
      podCpu.inc(labels, cpuNanoSeconds / 1e9);
    }
    podMemory.set(labels, memoryOf(use));
  }
  return registry;
}
