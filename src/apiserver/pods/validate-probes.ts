import type { AnyContainer, LifecycleHandler, Probe } from "#k8s";
import type { FieldErrors } from "../field-errors.ts";
import { headerNameErrors, portNameErrors } from "../names.ts";
import { AT_LEAST_ZERO, among, range, type PodContext } from "./rules.ts";

/** The hooks and probes of a container that runs beside others. */
export function validateHooks(container: AnyContainer, at: string, context: PodContext, errors: FieldErrors): void {
  const { postStart, preStop } = container.lifecycle ?? {};
  const { gracePeriod } = context;
  if (postStart !== undefined) handler(postStart, `${at}.lifecycle.postStart`, gracePeriod, errors);
  if (preStop !== undefined) handler(preStop, `${at}.lifecycle.preStop`, gracePeriod, errors);
  probe(container.livenessProbe, `${at}.livenessProbe`, errors, true);
  probe(container.readinessProbe, `${at}.readinessProbe`, errors, false);
  probe(container.startupProbe, `${at}.startupProbe`, errors, true);
}

const NUMBERS = [
  "initialDelaySeconds",
  "timeoutSeconds",
  "periodSeconds",
  "successThreshold",
  "failureThreshold",
] as const;

function probe(given: Probe | undefined, at: string, errors: FieldErrors, successOnce: boolean): void {
  if (given === undefined) return;
  handler(given, at, undefined, errors);
  for (const name of NUMBERS) {
    const number = given[name] ?? 0;
    if (number < 0) errors.invalid(`${at}.${name}`, number, AT_LEAST_ZERO);
  }
  const grace = given.terminationGracePeriodSeconds;
  const field = `${at}.terminationGracePeriodSeconds`;
  if (grace !== undefined && grace <= 0) errors.invalid(field, grace, "must be greater than 0");
  if (!successOnce && grace !== undefined) errors.invalid(field, grace, "must not be set for readinessProbes");
  if (successOnce && given.successThreshold !== 1)
    errors.invalid(`${at}.successThreshold`, given.successThreshold ?? 0, "must be 1");
}

type Action = Probe & LifecycleHandler;

/** The first action found is checked; another is refused. */
function handler(given: Action, at: string, gracePeriod: number | undefined, errors: FieldErrors): void {
  const actions = ACTIONS.filter(([name]) => given[name] !== undefined);
  if (actions.length === 0) errors.required(at, "must specify a handler type");
  for (const [i, [name, check]] of actions.entries())
    if (i > 0) errors.forbidden(`${at}.${name}`, "may not specify more than 1 handler type");
    else check(given, `${at}.${name}`, errors, gracePeriod);
}

type Check = (given: Action, at: string, errors: FieldErrors, gracePeriod: number | undefined) => void;

const ACTIONS: readonly (readonly ["exec" | "httpGet" | "tcpSocket" | "grpc" | "sleep", Check])[] = [
  [
    "exec",
    ({ exec }, at, errors) => {
      if ((exec?.command ?? []).length === 0) errors.required(`${at}.command`);
    },
  ],
  [
    "httpGet",
    ({ httpGet }, at, errors) => {
      if (!httpGet?.path) errors.required(`${at}.path`);
      port(httpGet?.port, `${at}.port`, errors);
      among(httpGet?.scheme ?? "", ["HTTP", "HTTPS"], `${at}.scheme`, errors);
      for (const { name } of httpGet?.httpHeaders ?? [])
        errors.invalidAll(`${at}.httpHeaders`, name, headerNameErrors(name));
    },
  ],
  ["tcpSocket", ({ tcpSocket }, at, errors) => port(tcpSocket?.port, `${at}.port`, errors)],
  ["grpc", ({ grpc }, at, errors) => port(grpc?.port, `${at}.port`, errors)],
  [
    "sleep",
    ({ sleep }, at, errors, gracePeriod) => {
      const seconds = sleep?.seconds ?? 0;
      if (gracePeriod !== undefined && (seconds < 0 || seconds > gracePeriod))
        errors.invalid(
          at,
          seconds,
          `must be non-negative and less than terminationGracePeriodSeconds (${gracePeriod})`,
        );
    },
  ],
];

function port(given: number | string | undefined, field: string, errors: FieldErrors): void {
  if (typeof given === "string") errors.invalidAll(field, given, portNameErrors(given));
  else if (!((given ?? 0) >= 1 && (given ?? 0) <= 65535)) errors.invalid(field, given ?? 0, range(1, 65535));
}
