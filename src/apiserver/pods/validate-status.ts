import { isIP } from "node:net";
import type { Container, ContainerStatus, Pod, PodSpec, PodStatus } from "#k8s";
import type { FieldErrors } from "../field-errors.ts";
import { dnsSubdomainErrors, qualifiedNameErrors } from "../names.ts";
import { validateAnnotationUpdate } from "./annotations.ts";
import { identity } from "./rules.ts";
import { validateIp } from "./validate-dns.ts";

const LISTS = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"] as const;
const NOT_NEGATIVE = "must be a non-negative integer";

/** Upstream's ValidatePodStatusUpdate, but for what only device plugins and claims report. */
export function validateStatusUpdate(pod: Pod, before: Pod, errors: FieldErrors): void {
  const status = pod.status ?? {};
  const old = before.status ?? {};
  const spec = before.spec ?? { containers: [] };
  validateAnnotationUpdate(pod, before, errors);
  conditions(status, errors);
  nomination(status, old, spec, errors);
  if ((status.observedGeneration ?? 0) < 0)
    errors.invalid("status.observedGeneration", status.observedGeneration, NOT_NEGATIVE);
  if ((status.qosClass ?? "") !== (old.qosClass ?? ""))
    errors.invalid("status.qosClass", status.qosClass ?? "", "field is immutable");
  transitions(status, old, spec, errors);
  addresses(status.podIPs ?? [], old.podIPs ?? [], "status.podIPs", errors);
  const hostIPs = status.hostIPs ?? [];
  if (hostIPs.length > 0 && (status.hostIP ?? "") !== hostIPs[0]?.ip)
    errors.invalid("status.hostIPs[0].ip", hostIPs[0]?.ip, "must be equal to `hostIP`");
  addresses(hostIPs, old.hostIPs ?? [], "status.hostIPs", errors);
  for (const list of LISTS) users(status[list] ?? [], `status.${list}`, spec, errors);
  for (const list of LISTS) images(status[list] ?? [], `status.${list}`, errors);
}

const SYSTEM = ["PodScheduled", "Ready", "Initialized"];

function conditions(status: PodStatus, errors: FieldErrors): void {
  for (const [i, { type, observedGeneration = 0 }] of (status.conditions ?? []).entries()) {
    const at = `status.conditions[${i}]`;
    if (observedGeneration < 0) errors.invalid(`${at}.observedGeneration`, observedGeneration, NOT_NEGATIVE);
    if (!SYSTEM.includes(type)) errors.invalidAll(`${at}.Type`, type, qualifiedNameErrors(type));
  }
}

/** Only a Pod that has no node yet may be promised one. */
function nomination(status: PodStatus, old: PodStatus, spec: PodSpec, errors: FieldErrors): void {
  const name = status.nominatedNodeName ?? "";
  if (name === "" || name === (old.nominatedNodeName ?? "")) return;
  errors.invalidAll("status.nominatedNodeName", name, dnsSubdomainErrors(name));
  if (spec.nodeName)
    errors.forbidden("status.nominatedNodeName", "may not be set on pods that are already bound to a node");
}

/** A container that has ended runs again only where its Pod, or its own rules, say so. */
function transitions(status: PodStatus, old: PodStatus, spec: PodSpec, errors: FieldErrors): void {
  const all = [...(spec.initContainers ?? []), ...spec.containers];
  const restartsAll = all.some((container) =>
    (container.restartPolicyRules ?? []).some((rule) => rule.action === "RestartAllContainers"),
  );
  for (const list of LISTS) {
    if (restartsAll && list !== "ephemeralContainerStatuses") continue;
    const containers = { containerStatuses: spec.containers, initContainerStatuses: spec.initContainers ?? [] };
    for (const [i, { name, state }] of (old[list] ?? []).entries()) {
      const exitCode = state?.terminated?.exitCode;
      if (exitCode === undefined) continue;
      const now = status[list]?.find((container) => container.name === name);
      if (now === undefined || now.state?.terminated !== undefined) continue;
      const container =
        list === "ephemeralContainerStatuses" ? undefined : containers[list].find((other) => other.name === name);
      if (container === undefined || !restarts(container, spec, exitCode))
        errors.forbidden(`status.${list}[${i}].state`, "may not be transitioned to non-terminated state");
    }
  }
}

function restarts({ restartPolicy, restartPolicyRules = [] }: Container, spec: PodSpec, exitCode: number): boolean {
  for (const { action, exitCodes } of restartPolicyRules) {
    const has = (exitCodes?.values ?? []).includes(exitCode);
    if (exitCodes !== undefined && has === (exitCodes.operator === "In") && action === "Restart") return true;
  }
  const policy = restartPolicy ?? spec.restartPolicy;
  return policy === "Always" || (policy === "OnFailure" && exitCode !== 0);
}

/** Addresses that were stored before stay, whatever they are. */
function addresses(
  given: readonly { readonly ip?: string }[],
  old: readonly { readonly ip?: string }[],
  field: string,
  errors: FieldErrors,
): void {
  const known = new Set(old.map(({ ip = "" }) => ip));
  for (const [i, { ip = "" }] of given.entries()) if (!known.has(ip)) validateIp(ip, `${field}[${i}]`, errors);
  if (given.length <= 1) return;
  const families = new Set(given.map(({ ip = "" }) => isIP(ip)));
  if (families.size !== 2 || given.length > 2)
    errors.invalid(
      field,
      given.map(({ ip }) => ({ IP: ip })),
      "may specify no more than one IP for each IP family",
    );
}

function users(statuses: readonly ContainerStatus[], field: string, spec: PodSpec, errors: FieldErrors): void {
  for (const [i, { user }] of statuses.entries()) {
    const linux = user?.linux;
    if (linux === undefined) continue;
    const at = `${field}[${i}].user.linux`;
    if (spec.os?.name === "windows") {
      errors.forbidden(at, "cannot be set for a windows pod");
      continue;
    }
    identity(linux.uid, `${at}.uid`, errors);
    identity(linux.gid, `${at}.gid`, errors);
    for (const [j, group] of (linux.supplementalGroups ?? []).entries())
      identity(group, `${at}.supplementalGroups[${j}]`, errors);
  }
}

const MAX_REFERENCE = 256;

function images(statuses: readonly ContainerStatus[], field: string, errors: FieldErrors): void {
  for (const [i, container] of statuses.entries())
    for (const [j, mount] of (container.volumeMounts ?? []).entries()) {
      const reference = mount.volumeStatus?.image?.imageRef;
      if (reference === undefined) continue;
      const at = `${field}[${i}].volumeMounts[${j}].volumeStatus.imageVolumeStatus.imageRef`;
      if (reference === "") errors.required(at, "imageRef must not be empty");
      if (Buffer.byteLength(reference) > MAX_REFERENCE) errors.tooLong(at, MAX_REFERENCE);
    }
}
