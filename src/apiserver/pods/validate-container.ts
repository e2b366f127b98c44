import { parseQuantity, type AnyContainer, type LifecycleHandler, type Probe } from "#k8s";
import type { FieldErrors } from "../field-errors.ts";
import { configKeyErrors, dnsLabelErrors, dnsSubdomainErrors, qualifiedNameErrors } from "../names.ts";
import { AT_LEAST_ZERO, MAX_INT32, oneOf, range, validateSeccomp, type PodContext } from "./rules.ts";
import { descending, fieldRef, resourceRef } from "./validate-volumes.ts";

const ENV_FIELDS = [
  "metadata.name",
  "metadata.namespace",
  "metadata.uid",
  "spec.nodeName",
  "spec.serviceAccountName",
  "status.hostIP",
  "status.hostIPs",
  "status.podIP",
  "status.podIPs",
];
const ENV_NAME = "a valid environment variable name must consist only of printable ASCII characters other than '='";
const PORT = range(1, 65535);

/** One container of a Pod. `named` runs where upstream looks for a second container of the same name. */
export function validateContainer(
  container: AnyContainer,
  at: string,
  kind: "app" | "init" | "ephemeral",
  context: PodContext,
  errors: FieldErrors,
  named: () => void,
): void {
  if (!container.name) errors.required(`${at}.name`);
  else for (const error of dnsLabelErrors(container.name)) errors.invalid(`${at}.name`, container.name, error);
  const image = container.image ?? "";
  if (image === "") errors.required(`${at}.image`);
  oneOf(
    container.terminationMessagePolicy,
    ["File", "FallbackToLogsOnError"],
    `${at}.terminationMessagePolicy`,
    errors,
  );
  ports(container, `${at}.ports`, errors);
  environment(container, at, errors);
  mounts(container, `${at}.volumeMounts`, context, errors);
  oneOf(container.imagePullPolicy, ["Always", "IfNotPresent", "Never"], `${at}.imagePullPolicy`, errors);
  resources(container, `${at}.resources`, errors);
  security(container, `${at}.securityContext`, errors);
  if (kind === "ephemeral") plainImage(container, at, errors);
  const { restartPolicy } = container as { restartPolicy?: string };
  if (kind === "init") ownRestart(container, at, errors);
  named();
  if (kind === "ephemeral") return ephemeral(container, at, context, errors);
  const sidecar = kind === "init" && restartPolicy === "Always";
  if (kind === "app" || sidecar) {
    const { lifecycle } = container;
    if (lifecycle?.postStart !== undefined)
      handler(lifecycle.postStart, `${at}.lifecycle.postStart`, errors, context.gracePeriod);
    if (lifecycle?.preStop !== undefined)
      handler(lifecycle.preStop, `${at}.lifecycle.preStop`, errors, context.gracePeriod);
    probe(container.livenessProbe, `${at}.livenessProbe`, errors, true);
    probe(container.readinessProbe, `${at}.readinessProbe`, errors, false);
    probe(container.startupProbe, `${at}.startupProbe`, errors, true);
    if (kind === "app") ownRestart(container, at, errors);
  } else {
    for (const name of ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] as const)
      if (container[name] !== undefined)
        errors.forbidden(`${at}.${name}`, `may not be set for init containers without restartPolicy=Always`);
  }
}

/** A Pod's image has no blanks around it; a template's may. */
export function plainImage(container: AnyContainer, at: string, errors: FieldErrors): void {
  const image = container.image ?? "";
  if (image.trim() !== image) errors.invalid(`${at}.image`, image, "must not have leading or trailing whitespace");
}

function ownRestart(container: AnyContainer, at: string, errors: FieldErrors): void {
  const { restartPolicy, restartPolicyRules = [] } = container as {
    restartPolicy?: string;
    restartPolicyRules?: unknown[];
  };
  const policies = ["Always", "Never", "OnFailure"];
  if (restartPolicy === undefined) {
    if (restartPolicyRules.length > 0)
      errors.required(`${at}.restartPolicy`, "must specify restartPolicy when restart rules are used");
  } else if (!policies.includes(restartPolicy)) errors.unsupported(`${at}.restartPolicy`, restartPolicy, policies);
  if (restartPolicyRules.length > 20) errors.tooMany(`${at}.restartPolicyRules`, restartPolicyRules.length, 20);
}

function ephemeral(container: AnyContainer, at: string, context: PodContext, errors: FieldErrors): void {
  for (const name of ["ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle"] as const)
    if (container[name] !== undefined) errors.forbidden(`${at}.${name}`, "cannot be set for an Ephemeral Container");
  if (Object.keys(container.resources ?? {}).length > 0)
    errors.forbidden(`${at}.resources`, "cannot be set for an Ephemeral Container");
  for (const [i, mount] of (container.volumeMounts ?? []).entries())
    for (const name of ["subPath", "subPathExpr"] as const)
      if (mount[name]) errors.forbidden(`${at}.volumeMounts[${i}].${name}`, "cannot be set for an Ephemeral Container");
  const goal = "targetContainerName" in container ? container.targetContainerName : undefined;
  const names = [...context.spec.containers, ...(context.spec.initContainers ?? [])].map((other) => other.name);
  if (goal && !names.includes(goal)) errors.notFound(`${at}.targetContainerName`, goal);
}

function ports(container: AnyContainer, field: string, errors: FieldErrors): void {
  const names = new Set<string>();
  for (const [i, port] of (container.ports ?? []).entries()) {
    const at = `${field}[${i}]`;
    if (port.name) {
      const wrong = portNameErrors(port.name);
      for (const error of wrong) errors.invalid(`${at}.name`, port.name, error);
      if (wrong.length === 0 && names.has(port.name)) errors.duplicate(`${at}.name`, port.name);
      names.add(port.name);
    }
    if (!port.containerPort) errors.required(`${at}.containerPort`);
    else if (port.containerPort < 1 || port.containerPort > 65535)
      errors.invalid(`${at}.containerPort`, port.containerPort, PORT);
    if (port.hostPort && (port.hostPort < 1 || port.hostPort > 65535))
      errors.invalid(`${at}.hostPort`, port.hostPort, PORT);
    oneOf(port.protocol, ["SCTP", "TCP", "UDP"], `${at}.protocol`, errors);
  }
}

function portNameErrors(name: string): string[] {
  const found: string[] = [];
  if (name.length > 15) found.push("must be no more than 15 characters");
  if (!/^[-a-z0-9]+$/.test(name)) found.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
  if (!/[a-z]/.test(name)) found.push("must contain at least one letter (a-z)");
  if (name.includes("--")) found.push("must not contain consecutive hyphens");
  if (name.startsWith("-") || name.endsWith("-")) found.push("must not begin or end with a hyphen");
  return found;
}

function environment(container: AnyContainer, at: string, errors: FieldErrors): void {
  for (const [i, env] of (container.env ?? []).entries()) {
    const here = `${at}.env[${i}]`;
    if (!env.name) errors.required(`${here}.name`);
    else if (!/^[ -<>-~]+$/.test(env.name)) errors.invalid(`${here}.name`, env.name, ENV_NAME);
    const from = env.valueFrom;
    if (from === undefined) continue;
    const { fieldRef: field, resourceFieldRef: resource, configMapKeyRef: map, secretKeyRef: secret } = from;
    if (field !== undefined) fieldRef({ ...field }, `${here}.valueFrom.fieldRef`, ENV_FIELDS, errors);
    if (resource !== undefined) resourceRef({ ...resource }, `${here}.valueFrom.resourceFieldRef`, false, errors);
    for (const [name, ref] of [
      ["configMapKeyRef", map],
      ["secretKeyRef", secret],
    ] as const) {
      if (ref === undefined) continue;
      const field = `${here}.valueFrom.${name}`;
      for (const error of dnsSubdomainErrors(ref.name ?? "")) errors.invalid(`${field}.name`, ref.name ?? "", error);
      if (!ref.key) errors.required(`${field}.key`);
      else for (const error of configKeyErrors(ref.key)) errors.invalid(`${field}.key`, ref.key, error);
    }
    const sources = Object.keys(from).length;
    if (sources === 0)
      errors.invalid(
        `${here}.valueFrom`,
        "",
        "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
      );
    else if (env.value) errors.invalid(`${here}.valueFrom`, "", "may not be specified when `value` is not empty");
    else if (sources > 1)
      errors.invalid(`${here}.valueFrom`, "", "may not have more than one field specified at a time");
  }
  for (const [i, from] of (container.envFrom ?? []).entries()) {
    const here = `${at}.envFrom[${i}]`;
    if (from.prefix && !/^[ -<>-~]+$/.test(from.prefix)) errors.invalid(`${here}.prefix`, from.prefix, ENV_NAME);
    if (from.configMapRef !== undefined && !from.configMapRef.name) errors.required(`${here}.configMapRef.name`);
    if (from.secretRef !== undefined && !from.secretRef.name) errors.required(`${here}.secretRef.name`);
    const sources = [from.configMapRef, from.secretRef].filter((ref) => ref !== undefined).length;
    if (sources === 0) errors.invalid(`${at}.envFrom`, "", "must specify one of: `configMapRef` or `secretRef`");
    if (sources > 1) errors.invalid(`${at}.envFrom`, "", "may not have more than one field specified at a time");
  }
}

function mounts(container: AnyContainer, field: string, context: PodContext, errors: FieldErrors): void {
  const paths = new Set<string>();
  const privileged = container.securityContext?.privileged === true;
  for (const [i, mount] of (container.volumeMounts ?? []).entries()) {
    const at = `${field}[${i}]`;
    const volume = context.volumes.get(mount.name);
    if (!mount.name) errors.required(`${at}.name`);
    if (volume === undefined) errors.notFound(`${at}.name`, mount.name);
    if (!mount.mountPath) errors.required(`${at}.mountPath`);
    if (paths.has(mount.mountPath)) errors.invalid(`${at}.mountPath`, mount.mountPath, "must be unique");
    paths.add(mount.mountPath);
    if (!context.rules.imageSubPath && volume?.image !== undefined) {
      for (const name of ["subPath", "subPathExpr"] as const)
        if (mount[name]) errors.invalid(`${at}.${name}`, mount[name], "not allowed in image volume sources");
    }
    if (mount.subPath) descending(mount.subPath, `${field}.subPath`, errors);
    if (mount.subPathExpr) {
      if (mount.subPath)
        errors.invalid(`${at}.subPathExpr`, mount.subPathExpr, "subPathExpr and subPath are mutually exclusive");
      descending(mount.subPathExpr, `${field}.subPathExpr`, errors);
    }
    if (mount.mountPropagation !== undefined) {
      const modes = ["Bidirectional", "HostToContainer", "None"];
      if (!modes.includes(mount.mountPropagation))
        errors.unsupported(`${field}.mountPropagation`, mount.mountPropagation, modes);
      else if (mount.mountPropagation === "Bidirectional" && !privileged)
        errors.forbidden(
          `${field}.mountPropagation`,
          "Bidirectional mount propagation is available only to privileged containers",
        );
    }
    recursive(mount, `${field}.recursiveReadOnly`, errors);
  }
}

function recursive(
  mount: { recursiveReadOnly?: string; readOnly?: boolean; mountPropagation?: string },
  at: string,
  errors: FieldErrors,
): void {
  const value = mount.recursiveReadOnly;
  if (value === undefined || value === "Disabled") return;
  const modes = ["Disabled", "IfPossible", "Enabled"];
  if (!modes.includes(value)) {
    errors.unsupported(at, value, modes);
    return;
  }
  if (mount.readOnly !== true) errors.forbidden(at, "may only be specified when readOnly is true");
  if (mount.mountPropagation !== undefined && mount.mountPropagation !== "None")
    errors.forbidden(at, "may only be specified when mountPropagation is None or not specified");
}

const STANDARD = ["cpu", "memory", "ephemeral-storage"];
const HUGE = "hugepages-";
const WHOLE = ["count", "pods", "services"];

function resources(container: AnyContainer, at: string, errors: FieldErrors): void {
  const { limits = {}, requests = {} } = container.resources ?? {};
  for (const [name, value] of Object.entries(limits)) resource(name, value, `${at}.limits[${name}]`, errors);
  for (const [name, value] of Object.entries(requests)) {
    resource(name, value, `${at}.requests[${name}]`, errors);
    const limit = limits[name];
    const overcommit = !name.includes("/") && !name.startsWith(HUGE);
    if (limit === undefined) {
      if (!overcommit) errors.required(`${at}.limits`, "Limit must be set for non overcommitable resources");
      continue;
    }
    const [asked, most] = [parseQuantity(value).nano, parseQuantity(limit).nano];
    if (asked !== most && !overcommit)
      errors.invalid(`${at}.requests`, value, `must be equal to ${name} limit of ${limit}`);
    else if (asked > most)
      errors.invalid(`${at}.requests`, value, `must be less than or equal to ${name} limit of ${limit}`);
  }
  const names = [...Object.keys(limits), ...Object.keys(requests)];
  if (names.some((name) => name.startsWith(HUGE)) && !names.some((name) => name === "cpu" || name === "memory"))
    errors.forbidden(at, "HugePages require cpu or memory");
}

function resource(name: string, value: string, at: string, errors: FieldErrors): void {
  for (const error of qualifiedNameErrors(name)) errors.invalid(at, name, error);
  if (!name.includes("/") && !STANDARD.includes(name) && !name.startsWith(HUGE))
    errors.invalid(at, name, "must be a standard resource for containers");
  const { nano } = parseQuantity(value);
  if (nano < 0n) errors.invalid(at, value, AT_LEAST_ZERO);
  if ((name.includes("/") || WHOLE.includes(name)) && nano % 1_000_000_000n !== 0n)
    errors.invalid(at, value, "must be an integer");
}

function security(container: AnyContainer, at: string, errors: FieldErrors): void {
  const context = container.securityContext;
  if (context === undefined) return;
  for (const name of ["runAsUser", "runAsGroup"] as const) {
    const id = context[name];
    if (id !== undefined && (id < 0 || id > MAX_INT32)) errors.invalid(`${at}.${name}`, id, range(0, MAX_INT32));
  }
  if (context.procMount !== undefined && !["Default", "Unmasked"].includes(context.procMount))
    errors.unsupported(`${at}.procMount`, context.procMount, ["Default", "Unmasked"]);
  validateSeccomp(context.seccompProfile, `${at}.seccompProfile`, errors);
  if (context.allowPrivilegeEscalation === false) {
    if (context.privileged === true)
      errors.invalid(at, context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
    if ((context.capabilities?.add ?? []).includes("CAP_SYS_ADMIN"))
      errors.invalid(
        at,
        context,
        "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
      );
  }
}

function probe(value: Probe | undefined, at: string, errors: FieldErrors, successOnce: boolean): void {
  if (value === undefined) return;
  handler(value, at, errors);
  for (const name of [
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
  ] as const) {
    const number = value[name];
    if (number !== undefined && number < 0) errors.invalid(`${at}.${name}`, number, AT_LEAST_ZERO);
  }
  const grace = value.terminationGracePeriodSeconds;
  if (grace !== undefined && grace <= 0)
    errors.invalid(`${at}.terminationGracePeriodSeconds`, grace, "must be greater than 0");
  if (!successOnce && grace !== undefined)
    errors.invalid(`${at}.terminationGracePeriodSeconds`, grace, "must not be set for readinessProbes");
  if (successOnce && value.successThreshold !== undefined && value.successThreshold !== 1)
    errors.invalid(`${at}.successThreshold`, value.successThreshold, "must be 1");
}

const HANDLERS = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"] as const;

function handler(value: Probe & LifecycleHandler, at: string, errors: FieldErrors, gracePeriod?: number): void {
  const given = value as unknown as Record<string, Record<string, unknown> | undefined>;
  let found = 0;
  for (const name of HANDLERS) {
    const action = given[name];
    if (action === undefined) continue;
    if (found++ > 0) {
      errors.forbidden(`${at}.${name}`, "may not specify more than 1 handler type");
      continue;
    }
    if (name === "exec" && ((action["command"] ?? []) as unknown[]).length === 0) errors.required(`${at}.exec.command`);
    if (name === "httpGet") {
      if (!action["path"]) errors.required(`${at}.httpGet.path`);
      portNumber(action["port"], `${at}.httpGet.port`, errors);
      const scheme = action["scheme"] as string | undefined;
      if (scheme !== "HTTP" && scheme !== "HTTPS")
        errors.unsupported(`${at}.httpGet.scheme`, scheme ?? "", ["HTTP", "HTTPS"]);
    }
    if (name === "tcpSocket" || name === "grpc") portNumber(action["port"], `${at}.${name}.port`, errors);
    if (name === "sleep" && gracePeriod !== undefined) {
      const seconds = Number(action["seconds"]);
      if (seconds < 0 || seconds > gracePeriod)
        errors.invalid(
          `${at}.sleep`,
          seconds,
          `must be non-negative and less than terminationGracePeriodSeconds (${gracePeriod})`,
        );
    }
  }
  if (found === 0) errors.required(at, "must specify a handler type");
}

function portNumber(port: unknown, field: string, errors: FieldErrors): void {
  if (typeof port === "number") {
    if (port < 1 || port > 65535) errors.invalid(field, port, PORT);
  } else if (typeof port === "string") for (const error of portNameErrors(port)) errors.invalid(field, port, error);
}
