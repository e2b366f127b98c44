import type {
  Container,
  EphemeralContainer,
  KubeObject,
  ObjectReference,
  OwnerReference,
  Pod,
  PodCondition,
} from "./types.ts";

/** `namespace/name`, or the bare name of what has no namespace. */
export function keyOf(object: KubeObject): string {
  const { namespace, name = "" } = object.metadata ?? {};
  return namespace === undefined || namespace === "" ? name : `${namespace}/${name}`;
}

/** A reference to an object, for events and owner lists. */
export function referenceTo(object: KubeObject): ObjectReference {
  const { name, namespace, uid, resourceVersion } = object.metadata ?? {};
  return JSON.parse(
    JSON.stringify({ kind: object.kind, namespace, name, uid, apiVersion: object.apiVersion, resourceVersion }),
  ) as ObjectReference;
}

/** The owner that controls an object, if one does. */
export function controllerOf(object: KubeObject): OwnerReference | undefined {
  return object.metadata?.ownerReferences?.find((owner) => owner.controller === true);
}

/** True for an object that is being deleted. */
export function isTerminating(object: KubeObject): boolean {
  return object.metadata?.deletionTimestamp !== undefined;
}

/** The condition of that type, of a Pod, a Node or anything with a list of them. */
export function conditionOf<T extends { type: string }>(
  conditions: readonly T[] | undefined,
  type: string,
): T | undefined {
  return conditions?.find((condition) => condition.type === type);
}

/** The conditions with one put in; its `lastTransitionTime` is kept when the status did not change. */
export function withCondition(
  conditions: readonly PodCondition[] | undefined,
  condition: PodCondition,
): PodCondition[] {
  const before = conditionOf(conditions, condition.type);
  const next =
    before?.status === condition.status && before.lastTransitionTime !== undefined
      ? { ...condition, lastTransitionTime: before.lastTransitionTime }
      : condition;
  return before === undefined
    ? [...(conditions ?? []), next]
    : (conditions ?? []).map((other) => (other.type === condition.type ? next : other));
}

/** A Pod that has ended for good. */
export function isTerminal(pod: Pod): boolean {
  return pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
}

/** A Pod that the kubelet has a copy of on disk only; the API holds its mirror. */
export function isMirror(pod: Pod): boolean {
  return pod.metadata?.annotations?.["kubernetes.io/config.mirror"] !== undefined;
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
