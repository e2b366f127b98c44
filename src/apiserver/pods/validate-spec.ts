import { isIP } from "node:net";
import type { AnyContainer, Pod, PodSpec } from "#k8s";
import { plainImage, validateContainer } from "./validate-container.ts";
import type { FieldErrors } from "../field-errors.ts";
import { dnsLabelErrors, dnsSubdomainErrors, labelValueErrors, qualifiedNameErrors, validateLabels } from "../names.ts";
import { MAX_INT32, oneOf, range, validateSeccomp, type PodContext, type PodRules } from "./rules.ts";
import { validateVolumes } from "./validate-volumes.ts";

/** Everything upstream's ValidatePodSpec finds, in its order and words, for the fields this node honours. */
export function validatePodSpec(spec: PodSpec, field: string, rules: PodRules, errors: FieldErrors): void {
  const volumes = validateVolumes(spec.volumes ?? [], `${field}.volumes`, rules, errors);
  const gracePeriod = spec.terminationGracePeriodSeconds ?? 30;
  const context: PodContext = { volumes, rules, gracePeriod, spec };
  const containers = spec.containers ?? [];
  if (containers.length === 0) errors.required(`${field}.containers`);
  validateAll(containers, `${field}.containers`, "app", context, errors, new Set());
  const names = new Set(containers.map((container) => container.name));
  validateAll(spec.initContainers ?? [], `${field}.initContainers`, "init", context, errors, names);
  for (const container of spec.initContainers ?? []) names.add(container.name);
  validateAll(spec.ephemeralContainers ?? [], `${field}.ephemeralContainers`, "ephemeral", context, errors, names);
  if (spec.hostNetwork === true) validateHostPorts(spec, field, errors);
  oneOf(spec.restartPolicy, ["Always", "OnFailure", "Never"], `${field}.restartPolicy`, errors);
  oneOf(spec.dnsPolicy, ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"], `${field}.dnsPolicy`, errors);
  validateLabels(spec.nodeSelector, `${field}.nodeSelector`, errors);
  validatePodSecurity(spec, `${field}.securityContext`, errors);
  validateDns(spec, `${field}.dnsConfig`, errors);
  for (const [i, gate] of (spec.readinessGates ?? []).entries())
    for (const error of qualifiedNameErrors(gate.conditionType))
      errors.invalid(`${field}.readinessGates[${i}].conditionType`, gate.conditionType, error);
  validateSchedulingGates(spec, `${field}.schedulingGates`, errors);
  if (spec.serviceAccountName)
    for (const error of dnsSubdomainErrors(spec.serviceAccountName))
      errors.invalid(`${field}.serviceAccountName`, spec.serviceAccountName, error);
  if (spec.nodeName)
    for (const error of dnsSubdomainErrors(spec.nodeName)) errors.invalid(`${field}.nodeName`, spec.nodeName, error);
  const deadline = spec.activeDeadlineSeconds;
  if (deadline !== undefined && (deadline < 1 || deadline > MAX_INT32))
    errors.invalid(`${field}.activeDeadlineSeconds`, deadline, range(1, MAX_INT32));
  for (const name of ["hostname", "subdomain"] as const)
    if (spec[name])
      for (const error of dnsLabelErrors(spec[name])) errors.invalid(`${field}.${name}`, spec[name], error);
  validateTolerations(spec, `${field}.tolerations`, errors);
  for (const [i, alias] of (spec.hostAliases ?? []).entries()) {
    if (isIP(alias.ip ?? "") === 0)
      errors.invalid(
        `${field}.hostAliases[${i}].ip`,
        alias.ip ?? "",
        "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
      );
    for (const [j, name] of (alias.hostnames ?? []).entries())
      for (const error of dnsSubdomainErrors(name))
        errors.invalid(`${field}.hostAliases[${i}].hostnames[${j}]`, name, error);
  }
  if (spec.priorityClassName)
    for (const error of dnsSubdomainErrors(spec.priorityClassName))
      errors.invalid(`${field}.priorityClassName`, spec.priorityClassName, error);
  if (spec.runtimeClassName !== undefined)
    for (const error of dnsSubdomainErrors(spec.runtimeClassName))
      errors.invalid(`${field}.runtimeClassName`, spec.runtimeClassName, error);
  if (spec.preemptionPolicy !== undefined)
    oneOf(spec.preemptionPolicy, ["PreemptLowerPriority", "Never"], `${field}.preemptionPolicy`, errors);
  if (spec.os !== undefined) oneOf(spec.os.name, ["linux", "windows"], `${field}.os.name`, errors);
}

/** The spec's rules and those that hold for Pods alone, not for templates: on every write of a Pod. */
export function validatePodOnly(spec: PodSpec, rules: PodRules, errors: FieldErrors): void {
  validatePodSpec(spec, "spec", rules, errors);
  for (const list of ["containers", "initContainers"] as const)
    for (const [i, container] of (spec[list] ?? []).entries()) plainImage(container, `spec.${list}[${i}]`, errors);
}

/** What a new Pod must be, after its metadata. */
export function validatePod(pod: Pod, rules: PodRules, errors: FieldErrors): void {
  const spec = pod.spec ?? { containers: [] };
  validatePodOnly(spec, rules, errors);
  if ((spec.ephemeralContainers ?? []).length > 0)
    errors.forbidden("spec.ephemeralContainers", "cannot be set on create");
  if (spec.nodeName && (spec.schedulingGates ?? []).length > 0)
    errors.forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared");
}

function validateAll(
  containers: readonly AnyContainer[],
  field: string,
  kind: "app" | "init" | "ephemeral",
  context: PodContext,
  errors: FieldErrors,
  others: ReadonlySet<string>,
): void {
  const names = new Set(others);
  for (const [i, container] of containers.entries()) {
    validateContainer(container, `${field}[${i}]`, kind, context, errors, () => {
      if (names.has(container.name)) errors.duplicate(`${field}[${i}].name`, container.name);
      else names.add(container.name);
    });
  }
  if (kind === "ephemeral") return;
  let ports = new Set<string>();
  for (const [i, container] of containers.entries()) {
    // Init containers run one by one.
    if (kind === "init") ports = new Set();
    for (const [j, port] of (container.ports ?? []).entries()) {
      if (!port.hostPort) continue;
      const key = `${port.protocol}/${port.hostIP ?? ""}/${port.hostPort}`;
      if (ports.has(key)) errors.duplicate(`${field}[${i}].ports[${j}].hostPort`, key);
      ports.add(key);
    }
  }
}

function validateHostPorts(spec: PodSpec, field: string, errors: FieldErrors): void {
  for (const [i, container] of spec.containers.entries())
    for (const [j, port] of (container.ports ?? []).entries())
      if (port.hostPort !== port.containerPort)
        errors.invalid(
          `${field}.containers[${i}].ports[${j}].hostPort`,
          port.hostPort ?? 0,
          "must match `containerPort` when `hostNetwork` is true",
        );
}

const SYSCTL_PART = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
const SYSCTL_WORDS = `^(${SYSCTL_PART}[\\./])*${SYSCTL_PART}$`;
const SYSCTL = new RegExp(SYSCTL_WORDS);

function validatePodSecurity(spec: PodSpec, field: string, errors: FieldErrors): void {
  const security = spec.securityContext;
  if (security === undefined) return;
  const id = (value: number | undefined, name: string): void => {
    if (value !== undefined && (value < 0 || value > MAX_INT32))
      errors.invalid(`${field}.${name}`, value, range(0, MAX_INT32));
  };
  id(security.fsGroup, "fsGroup");
  id(security.runAsUser, "runAsUser");
  id(security.runAsGroup, "runAsGroup");
  for (const [i, group] of (security.supplementalGroups ?? []).entries()) id(group, `supplementalGroups[${i}]`);
  if (spec.shareProcessNamespace === true && spec.hostPID === true)
    errors.invalid(`${field}.shareProcessNamespace`, true, "ShareProcessNamespace and HostPID cannot both be enabled");
  const sysctls = new Set<string>();
  for (const [i, { name }] of (security.sysctls ?? []).entries()) {
    const at = `${field}.sysctls[${i}].name`;
    if (!name) errors.required(at);
    else if (name.length > 253 || !SYSCTL.test(name))
      errors.invalid(at, name, `must have at most 253 characters and match regex ${SYSCTL_WORDS}`);
    else if (sysctls.has(name)) errors.duplicate(at, name);
    sysctls.add(name);
  }
  if (security.fsGroupChangePolicy !== undefined)
    oneOf(security.fsGroupChangePolicy, ["Always", "OnRootMismatch"], `${field}.fsGroupChangePolicy`, errors);
  validateSeccomp(security.seccompProfile, `${field}.seccompProfile`, errors);
}

function validateDns(spec: PodSpec, field: string, errors: FieldErrors): void {
  const dns = spec.dnsConfig;
  if (spec.dnsPolicy === "None") {
    if (dns === undefined) return errors.required(field, "must provide `dnsConfig` when `dnsPolicy` is None");
    if ((dns.nameservers ?? []).length === 0)
      return errors.required(
        `${field}.nameservers`,
        "must provide at least one DNS nameserver when `dnsPolicy` is None",
      );
  }
  if ((dns?.nameservers ?? []).length > 3)
    errors.invalid(`${field}.nameservers`, dns?.nameservers, "must not have more than 3 nameservers");
  for (const [i, server] of (dns?.nameservers ?? []).entries())
    if (isIP(server) === 0)
      errors.invalid(
        `${field}.nameservers[${i}]`,
        server,
        "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
      );
  if ((dns?.searches ?? []).length > 32)
    errors.invalid(`${field}.searches`, dns?.searches, "must not have more than 32 search paths");
  for (const [i, option] of (dns?.options ?? []).entries())
    if (!option.name) errors.required(`${field}.options[${i}]`, "must not be empty");
}

function validateSchedulingGates(spec: PodSpec, field: string, errors: FieldErrors): void {
  const seen = new Set<string>();
  for (const [i, gate] of (spec.schedulingGates ?? []).entries()) {
    for (const error of qualifiedNameErrors(gate.name)) errors.invalid(`${field}[${i}]`, gate.name, error);
    if (seen.has(gate.name)) errors.duplicate(`${field}[${i}]`, gate.name);
    seen.add(gate.name);
  }
}

function validateTolerations(spec: PodSpec, field: string, errors: FieldErrors): void {
  for (const [i, toleration] of (spec.tolerations ?? []).entries()) {
    const at = `${field}[${i}]`;
    if (toleration.key)
      for (const error of qualifiedNameErrors(toleration.key)) errors.invalid(`${at}.key`, toleration.key, error);
    if (!toleration.key && toleration.operator !== "Exists")
      errors.invalid(
        `${at}.operator`,
        toleration.operator ?? "",
        'operator must be Exists when `key` is empty, which means "match all values and all keys"',
      );
    if (toleration.tolerationSeconds !== undefined && toleration.effect !== "NoExecute")
      errors.invalid(
        `${at}.effect`,
        toleration.effect ?? "",
        "effect must be 'NoExecute' when `tolerationSeconds` is set",
      );
    const operator = toleration.operator ?? "";
    if (operator === "" || operator === "Equal") {
      const wrong = labelValueErrors(toleration.value ?? "");
      if (wrong.length > 0) errors.invalid(`${at}.operator`, toleration.value, wrong.join(";"));
    } else if (operator === "Exists") {
      if (toleration.value)
        errors.invalid(`${at}.operator`, toleration.value, "value must be empty when `operator` is 'Exists'");
    } else errors.unsupported(`${at}.operator`, operator, ["Equal", "Exists"]);
    if (toleration.effect && !["NoSchedule", "PreferNoSchedule", "NoExecute"].includes(toleration.effect))
      errors.unsupported(`${at}.effect`, toleration.effect, ["NoSchedule", "PreferNoSchedule", "NoExecute"]);
  }
}
