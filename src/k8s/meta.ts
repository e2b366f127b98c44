import type { Container, EphemeralContainer, KubeObject, Pod, PodCondition } from "./types.ts";

/** True for an object that is being deleted. */
export function isTerminating(object: KubeObject): boolean {
  return object.metadata?.deletionTimestamp !== undefined;
}

/** The conditions with one put in; its `lastTransitionTime` is kept when the status did not change. */
export function withCondition(
  conditions: readonly PodCondition[] | undefined,
  condition: PodCondition,
): PodCondition[] {
  const before = conditions?.find((other) => other.type === condition.type);
  const next =
    before?.status === condition.status && before.lastTransitionTime !== undefined
      ? { ...condition, lastTransitionTime: before.lastTransitionTime }
      : condition;
  return before === undefined
    ? [...(conditions ?? []), next]
    : (conditions ?? []).map((other) => (other.type === condition.type ? next : other));
}

export type AnyContainer = Container | EphemeralContainer;

/** All containers of a Pod: init, app and ephemeral ones, with the list each stands in. */
export function containersOf(
  pod: Pod,
): { list: "initContainers" | "containers" | "ephemeralContainers"; index: number; container: AnyContainer }[] {
  return (["initContainers", "containers", "ephemeralContainers"] as const).flatMap((list) =>
    ((pod.spec?.[list] ?? []) as AnyContainer[]).map((container, index) => ({ list, index, container })),
  );
}
