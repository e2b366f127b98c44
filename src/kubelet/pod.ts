import { type Container, type ContainerStatus, type EphemeralContainer, type Pod, type PodSpec, qosClass } from "#k8s";

export type AnyContainer = Container & Pick<EphemeralContainer, "targetContainerName">;
export type ContainerKind = "init" | "app" | "ephemeral";

export interface ContainerEntry {
  readonly kind: ContainerKind;
  readonly container: AnyContainer;
  /** `spec.containers{name}`: how an Event names it. */
  readonly fieldPath: string;
}

export const uidOf = (pod: Pod): string => pod.metadata?.uid ?? "";
export const nameOf = (pod: Pod): string => pod.metadata?.name ?? "";
export const namespaceOf = (pod: Pod): string => pod.metadata?.namespace ?? "default";
export const specOf = (pod: Pod): PodSpec => pod.spec ?? { containers: [] };

/** What a Pod requests, and is limited to, as a whole. KEP-2837 */
export const wholeOf = (pod: Pod): NonNullable<Container["resources"]> => specOf(pod).resources ?? {};

/** `name_namespace(uid)`, as Kubernetes' messages write a Pod. */
export const describePod = (pod: Pod): string => `${nameOf(pod)}_${namespaceOf(pod)}(${uidOf(pod)})`;

export function entriesOf(pod: Pod): ContainerEntry[] {
  const spec = specOf(pod);
  const entry = (kind: ContainerKind, field: string) => (container: AnyContainer) => ({
    kind,
    container,
    fieldPath: `spec.${field}{${container.name}}`,
  });
  return [
    ...(spec.initContainers ?? []).map(entry("init", "initContainers")),
    ...(spec.containers ?? []).map(entry("app", "containers")),
    ...((spec.ephemeralContainers ?? []) as AnyContainer[]).map(entry("ephemeral", "ephemeralContainers")),
  ];
}

/** Of an init container: it starts in the order of init containers and then stays. */
export const isSidecar = (container: AnyContainer): boolean => container.restartPolicy === "Always";

export const isTerminal = (pod: Pod): boolean => pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";

export function graceSecondsOf(pod: Pod): number {
  return pod.metadata?.deletionGracePeriodSeconds ?? specOf(pod).terminationGracePeriodSeconds ?? 30;
}

export type QosClass = ReturnType<typeof qosClass>;

/** As the API server says, for good; else as requests and limits say. */
export const qosOf = (pod: Pod): QosClass => (pod.status?.qosClass as QosClass | undefined) || qosClass(pod);

export function statusOf(pod: Pod, name: string): ContainerStatus | undefined {
  const { initContainerStatuses, containerStatuses, ephemeralContainerStatuses } = pod.status ?? {};
  return [...(initContainerStatuses ?? []), ...(containerStatuses ?? []), ...(ephemeralContainerStatuses ?? [])].find(
    (status) => status.name === name,
  );
}
