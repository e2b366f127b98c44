import type { Pod } from "#k8s";
import { specOf, uidOf } from "./pod.ts";
import { podAmounts } from "./pod-resources.ts";
import type { Resource } from "./thresholds.ts";
import { diskOf, memoryOf, type PodUse } from "./usage.ts";

export const priorityOf = (pod: Pod): number => specOf(pod).priority ?? 0;

/** Priorities from here on are the system's own. */
const CRITICAL = 2_000_000_000;
const STATIC = ["kubernetes.io/config.mirror", "kubernetes.io/config.source"];

/** What the node itself needs is never evicted, and admitted under any pressure. */
export function isCritical(pod: Pod): boolean {
  const annotations = pod.metadata?.annotations ?? {};
  const source = STATIC.find((name) => annotations[name] !== undefined && annotations[name] !== "api");
  return source !== undefined || priorityOf(pod) >= CRITICAL;
}

/**
 * The Pods in the order in which they go: those that use more than they request first, then by priority, then by how much more
 * they use. A Pod that nothing is known of goes before all. Processes are not requested: there priority decides.
 */
export function rank(resource: Resource, pods: readonly Pod[], uses: ReadonlyMap<string, PodUse>): Pod[] {
  const over = new Map(pods.map((pod) => [pod, overUse(resource, pod, uses.get(uidOf(pod)))]));
  const of = (pod: Pod): number => over.get(pod) ?? 0;
  const exceeds = (pod: Pod): number => (resource !== "pids" && of(pod) > 0 ? 0 : 1);
  return pods.toSorted((a, b) => {
    const byUse = exceeds(a) - exceeds(b);
    if (byUse !== 0) return byUse;
    const byPriority = priorityOf(a) - priorityOf(b);
    if (byPriority !== 0) return byPriority;
    return of(a) === of(b) ? 0 : of(b) - of(a);
  });
}

/** How much more a Pod uses than it requests. Processes are not counted by Pod. */
function overUse(resource: Resource, pod: Pod, use: PodUse | undefined): number {
  if (!use) return Number.POSITIVE_INFINITY;
  const requested = podAmounts(pod, "requests")[resource] ?? 0;
  switch (resource) {
    case "memory":
      return memoryOf(use) - requested;
    case "ephemeral-storage":
      return diskOf(use).bytes - requested;
    case "inodes":
      return diskOf(use).inodes;
    case "pids":
    default:
      return 0;
  }
}
