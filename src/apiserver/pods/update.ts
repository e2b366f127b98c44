import { isDeepStrictEqual } from "node:util";
import { jsonEqual, type Container, type Pod, type PodSpec } from "#k8s";
import type { FieldErrors } from "../field-errors.ts";
import { specDiff, valueDiff } from "./go-dump.ts";
import { MAX_INT32, range, type PodRules } from "./rules.ts";
import { plainImage } from "./validate-container.ts";
import { validatePodOnly } from "./validate-spec.ts";

const MAY_CHANGE =
  "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/** Upstream's ValidatePodUpdate: the new Pod must be whole, and only a few fields of its spec may ever change. */
export function validatePodUpdate(pod: Pod, before: Pod, rules: PodRules, errors: FieldErrors): void {
  const spec = pod.spec ?? { containers: [] };
  const old = before.spec ?? { containers: [] };
  validatePodOnly(spec, rules, errors);
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
  const masked = mask(spec, old);
  if (!jsonEqual(masked, old)) errors.forbidden("spec", `${MAY_CHANGE}\n${specDiff(old, masked)}`);
}

/** Tolerations may be added, and their seconds changed; none may go. */
function tolerations(spec: PodSpec, old: PodSpec, errors: FieldErrors): void {
  const bare = (list: PodSpec["tolerations"]): object[] => (list ?? []).map((t) => ({ ...t, tolerationSeconds: 0 }));
  const now = bare(spec.tolerations);
  if (!bare(old.tolerations).every((toleration) => now.some((other) => isDeepStrictEqual(other, toleration))))
    errors.forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds");
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
function mask(spec: PodSpec, old: PodSpec): PodSpec {
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
    put(masked, "nodeSelector", old.nodeSelector);
    put(masked, "affinity", old.affinity);
  }
  return masked;
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
  validatePodOnly(pod.spec ?? { containers: [] }, rules, errors);
  const now = new Map((pod.spec?.ephemeralContainers ?? []).map((container) => [container.name, container]));
  for (const old of before.spec?.ephemeralContainers ?? []) {
    const next = now.get(old.name);
    if (next === undefined)
      errors.forbidden(field, `existing ephemeral containers ${JSON.stringify(old.name)} may not be removed\n`);
    else if (!jsonEqual(next, old))
      errors.forbidden(
        field,
        `existing ephemeral containers ${JSON.stringify(old.name)} may not be changed\n${valueDiff(old, next, "v1.EphemeralContainer")}`,
      );
  }
}

/** Upstream's ValidatePodStatusUpdate, as far as a kubelet can go wrong in it. */
export function validateStatusUpdate(pod: Pod, before: Pod, errors: FieldErrors): void {
  const status = pod.status ?? {};
  if ((status.observedGeneration ?? 0) < 0)
    errors.invalid("status.observedGeneration", status.observedGeneration, "must be a non-negative integer");
  const qos = before.status?.qosClass;
  if (qos !== undefined && status.qosClass !== qos)
    errors.invalid("status.qosClass", status.qosClass ?? "", "field is immutable");
  for (const list of ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"] as const)
    for (const [i, container] of (status[list] ?? []).entries())
      for (const [j, mount] of (container.volumeMounts ?? []).entries()) {
        const ref = mount.volumeStatus?.image?.imageRef;
        if (ref === undefined) continue;
        const at = `status.${list}[${i}].volumeMounts[${j}].volumeStatus.imageVolumeStatus.imageRef`;
        if (ref === "") errors.required(at, "imageRef must not be empty");
        if (Buffer.byteLength(ref) > 256) errors.tooLong(at, 256);
      }
}
