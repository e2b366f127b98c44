import type { AnyContainer, Container, EphemeralContainer } from "#k8s";
import type { FieldErrors } from "../field-errors.ts";
import { dnsLabelErrors, portNameErrors } from "../names.ts";
import { among, oneOf, range, type PodContext } from "./rules.ts";
import { validateEnvironment } from "./validate-env.ts";
import { validateDevices, validateMounts } from "./validate-mounts.ts";
import { validateHooks } from "./validate-probes.ts";
import { validateContainerResources, validateResizePolicy } from "./validate-resources.ts";
import { validateRestartPolicy } from "./validate-restart-policy.ts";
import { validateSecurity } from "./validate-security.ts";

/** Upstream's validateContainers. */
export function validateContainers(
  containers: readonly Container[],
  field: string,
  context: PodContext,
  errors: FieldErrors,
): void {
  if (containers.length === 0) return errors.required(field);
  const names = new Set<string>();
  for (const [i, container] of containers.entries()) {
    const at = `${field}[${i}]`;
    common(container, at, context, errors);
    if (names.has(container.name)) errors.duplicate(`${at}.name`, container.name);
    names.add(container.name);
    validateHooks(container, at, context, errors);
    validateRestartPolicy(container, at, errors);
  }
  hostPorts(containers, field, errors);
}

const NOT_FOR_INIT = ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] as const;

/** Upstream's validateInitContainers: those that restart always are like any other. */
export function validateInitContainers(
  containers: readonly Container[],
  field: string,
  context: PodContext,
  errors: FieldErrors,
): void {
  const names = new Set((context.spec.containers ?? []).map((container) => container.name));
  for (const [i, container] of containers.entries()) {
    const at = `${field}[${i}]`;
    const staysOn = container.restartPolicy === "Always";
    common(container, at, context, errors);
    validateRestartPolicy(container, at, errors);
    if (names.has(container.name)) errors.duplicate(`${at}.name`, container.name);
    else if (container.name) names.add(container.name);
    // They run one by one, so that each may have the port of another. Upstream counts from 0 for each.
    hostPorts([container], field, errors);
    if (staysOn) validateHooks(container, at, context, errors);
    else
      for (const name of NOT_FOR_INIT)
        if (container[name] !== undefined)
          errors.forbidden(`${at}.${name}`, "may not be set for init containers without restartPolicy=Always");
    for (const [j, { restartPolicy }] of (container.resizePolicy ?? []).entries())
      if (!staysOn && restartPolicy === "RestartContainer")
        errors.invalid(
          `${at}.resizePolicy[${j}].restartPolicy`,
          restartPolicy,
          "must not be set to 'RestartContainer' for non-sidecar initContainers",
        );
  }
}

const NOT_FOR_EPHEMERAL = [
  "ports",
  "resources",
  "resizePolicy",
  "restartPolicy",
  "restartPolicyRules",
  "livenessProbe",
  "readinessProbe",
  "startupProbe",
  "lifecycle",
] as const;

/** Upstream's validateEphemeralContainers. */
export function validateEphemeralContainers(
  containers: readonly EphemeralContainer[],
  field: string,
  context: PodContext,
  errors: FieldErrors,
): void {
  const { spec } = context;
  const targets = new Set([...(spec.containers ?? []), ...(spec.initContainers ?? [])].map(({ name }) => name));
  const names = new Set(targets);
  const why = "cannot be set for an Ephemeral Container";
  for (const [i, container] of containers.entries()) {
    const at = `${field}[${i}]`;
    common(container, at, context, errors);
    plainImage(container, at, errors);
    if (names.has(container.name)) errors.duplicate(`${at}.name`, container.name);
    names.add(container.name);
    const target = container.targetContainerName;
    if (target && !targets.has(target)) errors.notFound(`${at}.targetContainerName`, target);
    for (const name of NOT_FOR_EPHEMERAL)
      if (name === "resources" ? Object.keys(container.resources ?? {}).length > 0 : container[name] !== undefined)
        errors.forbidden(`${at}.${name}`, why);
    for (const [j, mount] of (container.volumeMounts ?? []).entries())
      for (const name of ["subPath", "subPathExpr"] as const)
        if (mount[name]) errors.forbidden(`${at}.volumeMounts[${j}].${name}`, why);
  }
}

/** What holds for every container of every list. */
function common(container: AnyContainer, at: string, context: PodContext, errors: FieldErrors): void {
  const { name, image } = container;
  if (!name) errors.required(`${at}.name`);
  else errors.invalidAll(`${at}.name`, name, dnsLabelErrors(name));
  if (!image) errors.required(`${at}.image`);
  const policies = ["File", "FallbackToLogsOnError"];
  oneOf(container.terminationMessagePolicy, policies, `${at}.terminationMessagePolicy`, errors);
  ports(container, `${at}.ports`, errors);
  validateEnvironment(container, at, errors);
  validateMounts(container, at, context, errors);
  validateDevices(container, at, context, errors);
  oneOf(container.imagePullPolicy, ["Always", "IfNotPresent", "Never"], `${at}.imagePullPolicy`, errors);
  validateContainerResources(container.resources, `${at}.resources`, context.claims, errors);
  validateResizePolicy(container, at, context.spec, errors);
  validateSecurity(container, `${at}.securityContext`, context.spec, errors);
}

/** A Pod's image has no blanks around it; a template's may. */
export function plainImage(container: AnyContainer, at: string, errors: FieldErrors): void {
  const image = container.image ?? "";
  if (image.trim() !== image) errors.invalid(`${at}.image`, image, "must not have leading or trailing whitespace");
}

const PORT = range(1, 65535);
const isPort = (number: number): boolean => number >= 1 && number <= 65535;

function ports(container: AnyContainer, field: string, errors: FieldErrors): void {
  const names = new Set<string>();
  for (const [i, { name, containerPort, hostPort, protocol }] of (container.ports ?? []).entries()) {
    const at = `${field}[${i}]`;
    if (name) {
      const wrong = portNameErrors(name);
      errors.invalidAll(`${at}.name`, name, wrong);
      if (wrong.length === 0 && names.has(name)) errors.duplicate(`${at}.name`, name);
      else if (wrong.length === 0) names.add(name);
    }
    if (!containerPort) errors.required(`${at}.containerPort`);
    else if (!isPort(containerPort)) errors.invalid(`${at}.containerPort`, containerPort, PORT);
    if (hostPort && !isPort(hostPort)) errors.invalid(`${at}.hostPort`, hostPort, PORT);
    if (!protocol) errors.required(`${at}.protocol`);
    else among(protocol, ["SCTP", "TCP", "UDP"], `${at}.protocol`, errors);
  }
}

function hostPorts(containers: readonly AnyContainer[], field: string, errors: FieldErrors): void {
  const taken = new Set<string>();
  for (const [i, container] of containers.entries())
    for (const [j, port] of (container.ports ?? []).entries()) {
      if (!port.hostPort) continue;
      const key = `${port.protocol}/${port.hostIP ?? ""}/${port.hostPort}`;
      if (taken.has(key)) errors.duplicate(`${field}[${i}].ports[${j}].hostPort`, key);
      taken.add(key);
    }
}
