import type { Container, ContainerStatus, EphemeralContainer, Pod, PodSpec } from "#k8s";

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

interface WithResources {
  readonly resources?: Container["resources"];
}

/** What a Pod requests, and is limited to, as a whole. KEP-2837 */
export const wholeOf = (pod: Pod): NonNullable<Container["resources"]> =>
  (specOf(pod) as WithResources).resources ?? {};

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

export type QosClass = "Guaranteed" | "Burstable" | "BestEffort";

/** As the API server says, for good; else from requests and limits of cpu and memory, the whole Pod's where it has its own. */
export function qosOf(pod: Pod): QosClass {
  const known = pod.status?.qosClass;
  if (known) return known as QosClass;
  const spec = specOf(pod);
  const all = [...(spec.containers ?? []), ...(spec.initContainers ?? [])].map(({ resources }) => resources);
  const whole = wholeOf(pod);
  const isSet = Object.values({ ...whole.requests, ...whole.limits }).length > 0;
  const counted = isSet ? [whole] : all;
  let any = false;
  let guaranteed = counted.length > 0;
  for (const resources of counted) {
    for (const name of ["cpu", "memory"]) {
      const limit = nonZero(resources?.limits?.[name]);
      const request = nonZero(resources?.requests?.[name]) ?? limit;
      if (limit !== undefined || request !== undefined) any = true;
      if (limit === undefined || request !== limit) guaranteed = false;
    }
  }
  return !any ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
}

const nonZero = (quantity: string | undefined): string | undefined =>
  quantity === undefined || Number.parseFloat(quantity) === 0 ? undefined : quantity;

export function statusOf(pod: Pod, name: string): ContainerStatus | undefined {
  const { initContainerStatuses, containerStatuses, ephemeralContainerStatuses } = pod.status ?? {};
  return [...(initContainerStatuses ?? []), ...(containerStatuses ?? []), ...(ephemeralContainerStatuses ?? [])].find(
    (status) => status.name === name,
  );
}
