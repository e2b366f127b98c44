import type { Pod, PodAffinityTerm, PodSpec, PodStatus } from "#k8s";
import { containersWithPaths } from "./rules.ts";

/** KEP-4639's gate: with it off, image volumes go, and with them the mounts that name them. */
export function dropImageVolumes({ spec }: Pod): void {
  const dropped = new Set(spec?.volumes?.filter((volume) => volume.image !== undefined).map((volume) => volume.name));
  if (spec?.volumes === undefined || dropped.size === 0) return;
  spec.volumes = spec.volumes.filter((volume) => !dropped.has(volume.name));
  if (spec.volumes.length === 0) delete spec.volumes;
  for (const { container } of containersWithPaths(spec, "")) {
    if (container.volumeMounts === undefined) continue;
    container.volumeMounts = container.volumeMounts.filter((mount) => !dropped.has(mount.name));
    if (container.volumeMounts.length === 0) delete container.volumeMounts;
  }
}

/** Fields that Kubernetes 1.36 knows and, unless told otherwise, does not have yet. */
export function dropAlphaFields(spec: PodSpec): void {
  delete spec.schedulingGroup;
  for (const { container } of containersWithPaths(spec, "")) {
    delete container.lifecycle?.stopSignal;
    if (Object.keys(container.lifecycle ?? { kept: true }).length === 0) delete container.lifecycle;
  }
  for (const volume of spec.volumes ?? [])
    for (const source of volume.projected?.sources ?? []) {
      delete source.clusterTrustBundle;
      delete (source as { podCertificate?: unknown }).podCertificate;
    }
}

/** Keys of labels that a new Pod is to be placed by become part of the selectors, with the values that it has itself. */
export function mergeLabelKeys({ metadata, spec }: Pod): void {
  const labels = metadata?.labels ?? {};
  const { podAffinity, podAntiAffinity } = spec?.affinity ?? {};
  for (const affinity of [podAffinity, podAntiAffinity]) {
    for (const { podAffinityTerm } of affinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [])
      merge(podAffinityTerm, labels);
    for (const term of affinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []) merge(term, labels);
  }
  for (const constraint of spec?.topologySpreadConstraints ?? []) merge(constraint, labels);
}

type Term = Pick<PodAffinityTerm, "labelSelector" | "matchLabelKeys" | "mismatchLabelKeys">;

function merge(
  { labelSelector, matchLabelKeys, mismatchLabelKeys }: Term,
  labels: Readonly<Record<string, string>>,
): void {
  if (labelSelector === undefined) return;
  for (const [operator, keys] of Object.entries({ In: matchLabelKeys ?? [], NotIn: mismatchLabelKeys ?? [] }))
    for (const key of keys) {
      const value = labels[key];
      if (value !== undefined) (labelSelector.matchExpressions ??= []).push({ key, operator, values: [value] });
    }
}

/** What a status says of the generation it is about stays, where a client that does not know of it leaves it out. */
export function keepGenerations(status: PodStatus, before: PodStatus): void {
  if (!status.observedGeneration && before.observedGeneration) status.observedGeneration = before.observedGeneration;
  const known = Map.groupBy(before.conditions ?? [], ({ type }) => type);
  for (const condition of status.conditions ?? []) {
    const generation = known.get(condition.type)?.shift()?.observedGeneration;
    if (!condition.observedGeneration && generation) condition.observedGeneration = generation;
  }
}
