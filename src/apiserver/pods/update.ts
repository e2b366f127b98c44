import { isDeepStrictEqual } from "node:util";
import { jsonEqual, type Container, type NodeSelectorTerm, type Pod, type PodSpec } from "#k8s";
import type { FieldErrors } from "../field-errors.ts";
import { MIRROR, validateAnnotationUpdate } from "./annotations.ts";
import { internalSpec, internalValue } from "./internal.ts";
import { unifiedDiff } from "./line-diff.ts";
import { MAX_INT32, range, type PodRules } from "./rules.ts";
import { plainImage } from "./validate-container.ts";
import { validateTolerations } from "./validate-placement.ts";
import { validatePodOnly } from "./validate-spec.ts";

const MAY_CHANGE =
  "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/** The unified diff of two values as the server's memory has them. */
function diff(before: unknown, after: unknown): string {
  const lines = (value: unknown): string[] => JSON.stringify(value, undefined, 1).split("\n");
  return unifiedDiff(lines(before), lines(after));
}

/** Upstream's ValidatePodUpdate: the new Pod must be whole, and only a few fields of its spec may ever change. */
export function validatePodUpdate(pod: Pod, before: Pod, rules: PodRules, errors: FieldErrors): void {
  const spec = pod.spec ?? { containers: [] };
  const old = before.spec ?? { containers: [] };
  validatePodOnly(pod, rules, errors);
  validateAnnotationUpdate(pod, before, errors);
  for (const list of ["containers", "initContainers"] as const) {
    const containers: readonly Container[] = spec[list] ?? [];
    if (containers.length !== (old[list] ?? []).length) {
      errors.forbidden(`spec.${list}`, "pod updates may not add or remove containers");
      return;
    }
    for (const [i, container] of containers.entries()) {
      if (!container.image) errors.required(`spec.${list}[${i}].image`);
      plainImage(container, `spec.${list}[${i}]`, errors);
    }
  }
  const deadline = spec.activeDeadlineSeconds;
  if (deadline !== undefined) {
    if (deadline < 0 || deadline > MAX_INT32)
      return errors.invalid("spec.activeDeadlineSeconds", deadline, range(0, MAX_INT32));
    if (old.activeDeadlineSeconds !== undefined && old.activeDeadlineSeconds < deadline)
      return errors.invalid("spec.activeDeadlineSeconds", deadline, "must be less than or equal to previous value");
  } else if (old.activeDeadlineSeconds !== undefined)
    errors.invalid("spec.activeDeadlineSeconds", null, "must not update from a positive integer to nil value");
  tolerations(spec, old, errors);
  gates(spec, old, errors);
  const masked = mask(spec, old, errors);
  if (!jsonEqual(masked, old))
    errors.forbidden("spec", `${MAY_CHANGE}\n${diff(internalSpec(old), internalSpec(masked))}`);
}

/** Tolerations may be added, and their seconds changed; none may go. */
function tolerations(spec: PodSpec, old: PodSpec, errors: FieldErrors): void {
  const bare = (list: PodSpec["tolerations"]): object[] => (list ?? []).map((t) => ({ ...t, tolerationSeconds: 0 }));
  const now = bare(spec.tolerations);
  if (bare(old.tolerations).every((toleration) => now.some((other) => isDeepStrictEqual(other, toleration))))
    validateTolerations(spec.tolerations ?? [], "spec.tolerations", errors);
  else errors.forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds");
}

/** Scheduling gates only ever go. */
function gates(spec: PodSpec, old: PodSpec, errors: FieldErrors): void {
  const had = new Set((old.schedulingGates ?? []).map((gate) => gate.name));
  for (const [i, { name }] of (spec.schedulingGates ?? []).entries())
    if (!had.has(name))
      errors.forbidden(
        `spec.schedulingGates[${i}].name`,
        `only deletion is allowed, but found new scheduling gate '${name}'`,
      );
}

/** The new spec with what may change put back, so that any difference left is one that may not. */
function mask(spec: PodSpec, old: PodSpec, errors: FieldErrors): PodSpec {
  const masked: PodSpec = {
    ...spec,
    containers: spec.containers.map((container, i) => withImage(container, old.containers[i]?.image)),
  };
  if (spec.initContainers !== undefined)
    masked.initContainers = spec.initContainers.map((c, i) => withImage(c, old.initContainers?.[i]?.image));
  put(masked, "activeDeadlineSeconds", old.activeDeadlineSeconds);
  put(masked, "tolerations", old.tolerations);
  put(masked, "schedulingGates", old.schedulingGates);
  const grace = old.terminationGracePeriodSeconds;
  if (grace !== undefined && grace < 0 && spec.terminationGracePeriodSeconds === 1)
    put(masked, "terminationGracePeriodSeconds", grace);
  if ((old.schedulingGates ?? []).length > 0) {
    narrowing(spec, old, errors);
    put(masked, "nodeSelector", old.nodeSelector);
    put(masked, "affinity", withNodeAffinity(spec, old));
  }
  return masked;
}

/** The affinity with the old one to nodes: a Pod that waits at a gate may change that, and nothing else of it. */
function withNodeAffinity(spec: PodSpec, old: PodSpec): PodSpec["affinity"] {
  const { nodeAffinity: _given, ...others } = spec.affinity ?? {};
  const nodeAffinity = old.affinity?.nodeAffinity;
  if (nodeAffinity !== undefined) return { ...others, nodeAffinity };
  return old.affinity === undefined && Object.keys(others).length === 0 ? undefined : others;
}

/** Where a Pod may go is only ever narrowed while it waits. */
function narrowing(spec: PodSpec, old: PodSpec, errors: FieldErrors): void {
  const selector = spec.nodeSelector ?? {};
  if (Object.entries(old.nodeSelector ?? {}).some(([key, value]) => selector[key] !== value))
    errors.invalid(
      "spec.nodeSelector",
      spec.nodeSelector ?? null,
      "only additions to spec.nodeSelector are allowed (no mutations or deletions)",
    );
  const terms = (of: PodSpec): readonly NodeSelectorTerm[] =>
    of.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [];
  const [now, before] = [terms(spec), terms(old)];
  const field = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
  const shown = (term: NodeSelectorTerm): unknown => internalValue(term, "v1.NodeSelectorTerm");
  if (before.length > 0 && before.length !== now.length)
    return errors.invalid(
      field,
      now.length === 0 ? null : now.map(shown),
      "no additions/deletions to non-empty NodeSelectorTerms list are allowed",
    );
  for (const [i, term] of before.entries())
    if (!extendsTerm(now[i] ?? {}, term))
      errors.invalid(`${field}[${i}]`, shown(now[i] ?? {}), "only additions are allowed (no mutations or deletions)");
}

function extendsTerm(now: NodeSelectorTerm, before: NodeSelectorTerm): boolean {
  const lists = ["matchExpressions", "matchFields"] as const;
  if (lists.every((list) => (before[list] ?? []).length === 0))
    return lists.every((list) => (now[list] ?? []).length === 0);
  return lists.every((list) => {
    const old = before[list] ?? [];
    return isDeepStrictEqual((now[list] ?? []).slice(0, old.length), old);
  });
}

function withImage<T extends { image?: string }>(container: T, image: string | undefined): T {
  return { ...container, ...(image === undefined ? {} : { image }) };
}

function put<K extends keyof PodSpec>(spec: PodSpec, key: K, value: PodSpec[K] | undefined): void {
  if (value === undefined) delete spec[key];
  else spec[key] = value;
}

/** What an update of `ephemeralcontainers` leaves of the Pod that was sent: those containers, and nothing else. */
export function keepEphemeral(pod: Pod, before: Pod): PodSpec {
  const spec: PodSpec = { ...before.spec, containers: before.spec?.containers ?? [] };
  const given = pod.spec?.ephemeralContainers ?? [];
  if (given.length === 0) delete spec.ephemeralContainers;
  else spec.ephemeralContainers = given;
  return spec;
}

/** Upstream's ValidatePodEphemeralContainersUpdate: ephemeral containers are added, never changed or taken away. */
export function validateEphemeralUpdate(pod: Pod, before: Pod, rules: PodRules, errors: FieldErrors): void {
  const field = "spec.ephemeralContainers";
  if (before.metadata?.annotations?.[MIRROR] !== undefined) {
    errors.causes.length = 0;
    return errors.forbidden("", "static pods do not support ephemeral containers");
  }
  validatePodOnly(pod, rules, errors);
  validateAnnotationUpdate(pod, before, errors);
  const now = new Map((pod.spec?.ephemeralContainers ?? []).map((container) => [container.name, container]));
  for (const old of before.spec?.ephemeralContainers ?? []) {
    const next = now.get(old.name);
    const name = JSON.stringify(old.name);
    const internal = (value: unknown): unknown => internalValue(value, "v1.EphemeralContainer");
    if (next === undefined) errors.forbidden(field, `existing ephemeral containers ${name} may not be removed\n`);
    else if (!jsonEqual(next, old))
      errors.forbidden(
        field,
        `existing ephemeral containers ${name} may not be changed\n${diff(internal(old), internal(next))}`,
      );
  }
}
