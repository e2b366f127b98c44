import type { Pod, PodSpec, ObjectMeta } from "#k8s";
import type { FieldErrors } from "../field-errors.ts";
import { dnsLabelErrors, dnsSubdomainErrors, qualifiedNameErrors, validateLabels } from "../names.ts";
import { MIRROR, validatePodAnnotations, validateProfilesMatch } from "./annotations.ts";
import { MAX_INT32, containersWithPaths, oneOf, range, sharesUsers, type PodContext, type PodRules } from "./rules.ts";
import {
  plainImage,
  validateContainers,
  validateEphemeralContainers,
  validateInitContainers,
} from "./validate-container.ts";
import { validateDns, validateHostAliases, validateHostName } from "./validate-dns.ts";
import { validateEnvFiles } from "./validate-env.ts";
import { validateAffinity, validateSpread, validateTolerations } from "./validate-placement.ts";
import { validateContainerResources, validatePodResources, validateResourceClaims } from "./validate-resources.ts";
import { validatePodSecurity } from "./validate-security.ts";
import { validateVolumes } from "./validate-volumes.ts";
import { validateHostProcesses, validateOs } from "./validate-windows.ts";

/** Upstream's ValidatePodSpec, in its order. `meta` is that of a real Pod, undefined for a template. */
export function validatePodSpec(
  spec: PodSpec,
  meta: ObjectMeta | undefined,
  field: string,
  rules: PodRules,
  errors: FieldErrors,
): void {
  const volumes = validateVolumes(spec.volumes ?? [], meta?.name, `${field}.volumes`, rules, errors);
  const claims = new Set((spec.resourceClaims ?? []).map((claim) => claim.name).filter((name) => name !== ""));
  const context: PodContext = { volumes, rules, gracePeriod: spec.terminationGracePeriodSeconds, spec, claims };
  const isMirror = meta?.annotations?.[MIRROR] !== undefined;
  validateResourceClaims(spec, `${field}.resourceClaims`, isMirror, errors);
  validateContainers(spec.containers ?? [], `${field}.containers`, context, errors);
  validateInitContainers(spec.initContainers ?? [], `${field}.initContainers`, context, errors);
  validateEphemeralContainers(spec.ephemeralContainers ?? [], `${field}.ephemeralContainers`, context, errors);
  validatePodResources(spec, `${field}.resources`, claims, errors);
  validateHostPorts(spec, field, rules, errors);
  oneOf(spec.restartPolicy, ["Always", "OnFailure", "Never"], `${field}.restartPolicy`, errors);
  oneOf(spec.dnsPolicy, ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"], `${field}.dnsPolicy`, errors);
  validateLabels(spec.nodeSelector, `${field}.nodeSelector`, errors);
  validatePodSecurity(spec, `${field}.securityContext`, errors);
  validateAffinity(spec, `${field}.affinity`, errors);
  validateDns(spec, `${field}.dnsConfig`, errors);
  validateGates(spec, field, errors);
  validateSpread(spec.topologySpreadConstraints ?? [], `${field}.topologySpreadConstraints`, errors);
  validateHostProcesses(spec, field, errors);
  validateHostUsers(spec, field, errors);
  validateHostName(spec, field, errors);
  validateScalars(spec, field, errors);
  validateOs(spec, field, errors);
  validateEnvFiles(spec, field, errors);
}

/** The fields that stand alone. */
function validateScalars(spec: PodSpec, field: string, errors: FieldErrors): void {
  for (const name of ["serviceAccountName", "nodeName"] as const)
    if (spec[name]) errors.invalidAll(`${field}.${name}`, spec[name], dnsSubdomainErrors(spec[name]));
  const deadline = spec.activeDeadlineSeconds;
  if (deadline !== undefined && (deadline < 1 || deadline > MAX_INT32))
    errors.invalid(`${field}.activeDeadlineSeconds`, deadline, range(1, MAX_INT32));
  for (const name of ["hostname", "subdomain"] as const)
    if (spec[name]) errors.invalidAll(`${field}.${name}`, spec[name], dnsLabelErrors(spec[name]));
  validateTolerations(spec.tolerations ?? [], `${field}.tolerations`, errors);
  validateHostAliases(spec, `${field}.hostAliases`, errors);
  const { priorityClassName, runtimeClassName, preemptionPolicy, overhead } = spec;
  if (priorityClassName)
    errors.invalidAll(`${field}.priorityClassName`, priorityClassName, dnsSubdomainErrors(priorityClassName));
  if (runtimeClassName !== undefined)
    errors.invalidAll(`${field}.runtimeClassName`, runtimeClassName, dnsSubdomainErrors(runtimeClassName));
  if (preemptionPolicy !== undefined)
    oneOf(preemptionPolicy, ["PreemptLowerPriority", "Never"], `${field}.preemptionPolicy`, errors);
  if (overhead !== undefined) validateContainerResources({ limits: overhead }, `${field}.overhead`, new Set(), errors);
}

/** With the network of the node, a container's ports are the node's. A template may leave that open. */
function validateHostPorts(spec: PodSpec, field: string, rules: PodRules, errors: FieldErrors): void {
  if (spec.hostNetwork !== true) return;
  for (const [i, container] of (spec.containers ?? []).entries())
    for (const [j, { hostPort = 0, containerPort }] of (container.ports ?? []).entries())
      if ((rules.isPod || hostPort !== 0) && hostPort !== containerPort)
        errors.invalid(
          `${field}.containers[${i}].ports[${j}].hostPort`,
          hostPort,
          "must match `containerPort` when `hostNetwork` is true",
        );
}

/** What a Pod waits for: before it is ready, and before it is placed. */
function validateGates(spec: PodSpec, field: string, errors: FieldErrors): void {
  for (const [i, { conditionType }] of (spec.readinessGates ?? []).entries())
    errors.invalidAll(`${field}.readinessGates[${i}].conditionType`, conditionType, qualifiedNameErrors(conditionType));
  const seen = new Set<string>();
  for (const [i, { name }] of (spec.schedulingGates ?? []).entries()) {
    const at = `${field}.schedulingGates[${i}]`;
    errors.invalidAll(at, name, qualifiedNameErrors(name));
    if (seen.has(name)) errors.duplicate(at, name);
    seen.add(name);
  }
}

/** Users of its own go with namespaces of its own. */
function validateHostUsers(spec: PodSpec, field: string, errors: FieldErrors): void {
  if (sharesUsers(spec)) return;
  const why = "when `hostUsers` is false";
  if (spec.hostNetwork === true) errors.forbidden(`${field}.hostNetwork`, why);
  if (spec.hostPID === true) errors.forbidden(`${field}.HostPID`, why);
  if (spec.hostIPC === true) errors.forbidden(`${field}.HostIPC`, why);
  for (const { at, container } of containersWithPaths(spec, field))
    if ((container.volumeDevices ?? []).length > 0) errors.forbidden(`${at}.volumeDevices`, why);
}

/** The spec's rules and those that hold for Pods alone, not for templates: on every write of a Pod. */
export function validatePodOnly(pod: Pod, rules: PodRules, errors: FieldErrors): void {
  const spec = pod.spec ?? { containers: [] };
  validatePodAnnotations(pod.metadata?.annotations ?? {}, spec, "metadata.annotations", errors);
  validatePodSpec(spec, pod.metadata ?? {}, "spec", rules, errors);
  for (const list of ["containers", "initContainers"] as const)
    for (const [i, container] of (spec[list] ?? []).entries()) plainImage(container, `spec.${list}[${i}]`, errors);
}

/** What a new Pod must be, after its metadata. */
export function validatePod(pod: Pod, rules: PodRules, errors: FieldErrors): void {
  const spec = pod.spec ?? { containers: [] };
  validatePodOnly(pod, rules, errors);
  if ((spec.ephemeralContainers ?? []).length > 0)
    errors.forbidden("spec.ephemeralContainers", "cannot be set on create");
  if (spec.nodeName && (spec.schedulingGates ?? []).length > 0)
    errors.forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared");
  validateProfilesMatch(pod.metadata?.annotations ?? {}, spec, "spec", errors);
}
