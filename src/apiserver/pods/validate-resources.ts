import { aggregateRequests, parseQuantity, type AnyContainer, type PodSpec, type ResourceRequirements } from "#k8s";
import type { FieldErrors } from "../field-errors.ts";
import { dnsLabelErrors, dnsSubdomainErrors, qualifiedNameErrors } from "../names.ts";
import { internalValue } from "./internal.ts";
import { AT_LEAST_ZERO } from "./rules.ts";

type Named = (name: string, field: string, errors: FieldErrors) => void;

const HUGE = "hugepages-";
const ONE = 1_000_000_000n;
const CONTAINER = ["cpu", "memory", "ephemeral-storage"];
const COUNTED = [
  "configmaps",
  "persistentvolumeclaims",
  "pods",
  "replicationcontrollers",
  "resourcequotas",
  "secrets",
  "services",
  "services.loadbalancers",
  "services.nodeports",
];
const STANDARD = [
  ...CONTAINER,
  ...COUNTED,
  "limits.cpu",
  "limits.ephemeral-storage",
  "limits.memory",
  "requests.cpu",
  "requests.ephemeral-storage",
  "requests.memory",
  "requests.storage",
  "storage",
];

/** Upstream's ValidateContainerResourceRequirements. */
export function validateContainerResources(
  requirements: ResourceRequirements | undefined,
  field: string,
  claims: ReadonlySet<string>,
  errors: FieldErrors,
): void {
  requirementsOf(requirements ?? {}, field, containerResource, claims, errors);
}

/** What a Pod as a whole asks for: enough for its containers. */
export function validatePodResources(
  spec: PodSpec,
  field: string,
  claims: ReadonlySet<string>,
  errors: FieldErrors,
): void {
  const { resources } = spec;
  if (resources === undefined) return;
  if (spec.os?.name === "windows") return errors.forbidden(field, "may not be set for a windows pod");
  if (resources.claims !== undefined)
    errors.forbidden(`${field}.claims`, "claims may not be set for Resources at pod-level");
  requirementsOf(resources, field, podResource, claims, errors);
  for (const [name, sum] of Object.entries(aggregateRequests(spec))) {
    const request = resources.requests?.[name];
    if (request !== undefined && parseQuantity(sum).nano > parseQuantity(request).nano)
      errors.invalid(
        `${field}.requests[${name}]`,
        request,
        `must be greater than or equal to aggregate container requests of ${sum}`,
      );
  }
  for (const [i, container] of spec.containers.entries())
    for (const [name, limit] of Object.entries(container.resources?.limits ?? {})) {
      const most = resources.limits?.[name];
      if (most !== undefined && parseQuantity(limit).nano > parseQuantity(most).nano)
        errors.invalid(
          `${field}.containers[${i}][${name}].limits`,
          limit,
          `must be less than or equal to pod limits of ${most}`,
        );
    }
}

function requirementsOf(
  { limits = {}, requests = {}, claims = [] }: ResourceRequirements,
  field: string,
  named: Named,
  podClaims: ReadonlySet<string>,
  errors: FieldErrors,
): void {
  for (const [name, value] of Object.entries(limits)) resource(name, value, `${field}.limits[${name}]`, named, errors);
  for (const [name, value] of Object.entries(requests)) {
    const here = `${field}.requests[${name}]`;
    named(name, here, errors);
    amount(name, value, here, errors);
    within(name, value, limits[name], field, errors);
    hugePages(name, value, here, errors);
  }
  const names = [...Object.keys(limits), ...Object.keys(requests)];
  if (names.some((name) => name.startsWith(HUGE)) && !names.includes("cpu") && !names.includes("memory"))
    errors.forbidden(field, "HugePages require cpu or memory");
  claimNames(claims, podClaims, `${field}.claims`, errors);
}

function resource(name: string, value: string, at: string, named: Named, errors: FieldErrors): void {
  named(name, at, errors);
  amount(name, value, at, errors);
  hugePages(name, value, at, errors);
}

/** A request is no more than the limit, and the same where the node cannot promise more than it has. */
function within(name: string, value: string, limit: string | undefined, field: string, errors: FieldErrors): void {
  const overcommits = isNative(name) && !name.startsWith(HUGE);
  if (limit === undefined) {
    if (!overcommits) errors.required(`${field}.limits`, "Limit must be set for non overcommitable resources");
    return;
  }
  const [asked, most] = [parseQuantity(value).nano, parseQuantity(limit).nano];
  if (asked !== most && !overcommits)
    errors.invalid(`${field}.requests`, value, `must be equal to ${name} limit of ${limit}`);
  else if (asked > most)
    errors.invalid(`${field}.requests`, value, `must be less than or equal to ${name} limit of ${limit}`);
}

/** Upstream's ValidateResourceQuantityValue: never negative, and whole where things are counted. */
export function amount(name: string, value: string, at: string, errors: FieldErrors): void {
  const { nano } = parseQuantity(value);
  if (nano < 0n) errors.invalid(at, value, AT_LEAST_ZERO);
  if ((COUNTED.includes(name) || isExtended(name)) && nano % ONE !== 0n)
    errors.invalid(at, value, "must be an integer");
}

function hugePages(name: string, value: string, at: string, errors: FieldErrors): void {
  if (name.startsWith(HUGE) && !divides(name.slice(HUGE.length), value))
    errors.invalid(at, value, `${value} is not positive integer multiple of ${name}`);
}

function divides(pageSize: string, value: string): boolean {
  try {
    const size = parseQuantity(pageSize).nano;
    return size > 0n && size % ONE === 0n && parseQuantity(value).nano % size === 0n;
  } catch {
    return false;
  }
}

const isNative = (name: string): boolean => !name.includes("/") || name.includes("kubernetes.io/");

const isExtended = (name: string): boolean =>
  !isNative(name) && !name.startsWith("requests.") && qualifiedNameErrors(`requests.${name}`).length === 0;

/** A name that stands for some resource. False where it stands for none. */
function known(name: string, at: string, errors: FieldErrors): boolean {
  const wrong = qualifiedNameErrors(name);
  errors.invalidAll(at, name, wrong);
  if (wrong.length > 0) return false;
  if (name.includes("/") || STANDARD.includes(name) || /^(requests\.)?hugepages-/.test(name)) return true;
  errors.invalid(at, name, "must be a standard resource type or fully qualified");
  return false;
}

function containerResource(name: string, at: string, errors: FieldErrors): void {
  known(name, at, errors);
  if (!name.includes("/")) {
    if (!CONTAINER.includes(name) && !name.startsWith(HUGE))
      errors.invalid(at, name, "must be a standard resource for containers");
  } else if (!isNative(name) && !isExtended(name))
    errors.invalid(at, name, "doesn't follow extended resource name standard");
}

function podResource(name: string, at: string, errors: FieldErrors): void {
  if (known(name, at, errors) && name !== "cpu" && name !== "memory" && !name.startsWith(HUGE))
    errors.unsupported(at, name, ["cpu", "memory"]);
}

function claimNames(
  claims: NonNullable<ResourceRequirements["claims"]>,
  podClaims: ReadonlySet<string>,
  field: string,
  errors: FieldErrors,
): void {
  const seen = new Set<string>();
  for (const [i, { name, request }] of claims.entries()) {
    const here = `${field}[${i}]`;
    if (!name) {
      errors.required(here);
      continue;
    }
    if (seen.has(name)) errors.duplicate(here, name);
    else {
      if (request) errors.invalidAll(`${here}.request`, request, dnsLabelErrors(request));
      const key = request ? `${name}/${request}` : name;
      const covered = request ? [] : [...seen].filter((other) => other.startsWith(`${name}/`));
      if (seen.has(key)) errors.duplicate(here, key);
      else for (const _ of covered) errors.duplicate(here, name);
      seen.add(key);
    }
    if (podClaims.has(name)) continue;
    const names = podClaims.size === 0 ? " which is empty" : `: ${[...podClaims].sort().join(", ")}`;
    errors.notFound(here, name, `must be one of the names in pod.spec.resourceClaims${names}`);
  }
}

/** Upstream's validatePodResourceClaims. */
export function validateResourceClaims(spec: PodSpec, field: string, isMirror: boolean, errors: FieldErrors): void {
  const names = new Set<string>();
  for (const [i, claim] of (spec.resourceClaims ?? []).entries()) {
    if (isMirror) {
      errors.forbidden("", "static pods do not support resource claims");
      continue;
    }
    const here = `${field}[${i}]`;
    const { name, resourceClaimName, resourceClaimTemplateName } = claim;
    if (!name) errors.required(`${here}.name`);
    else if (names.has(name)) errors.duplicate(`${here}.name`, name);
    else {
      errors.invalidAll(`${here}.name`, name, dnsLabelErrors(name));
      names.add(name);
    }
    const shown = internalValue(claim, "v1.PodResourceClaim");
    if (resourceClaimName !== undefined && resourceClaimTemplateName !== undefined)
      errors.invalid(here, shown, "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified");
    if (resourceClaimName === undefined && resourceClaimTemplateName === undefined)
      errors.invalid(here, shown, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`");
    for (const key of ["resourceClaimName", "resourceClaimTemplateName"] as const) {
      const value = claim[key];
      if (value !== undefined) errors.invalidAll(`${here}.${key}`, value, dnsSubdomainErrors(value));
    }
  }
}

/** Upstream's validateResizePolicy; its errors name the list, not the item. */
export function validateResizePolicy(container: AnyContainer, at: string, spec: PodSpec, errors: FieldErrors): void {
  const field = `${at}.resizePolicy`;
  const seen = new Set<string>();
  for (const [i, { resourceName, restartPolicy }] of (container.resizePolicy ?? []).entries()) {
    if (seen.has(resourceName)) errors.duplicate(`${field}[${i}]`, resourceName);
    seen.add(resourceName);
    if (!resourceName) errors.required(field);
    else if (!["cpu", "memory"].includes(resourceName)) errors.unsupported(field, resourceName, ["cpu", "memory"]);
    if (!restartPolicy) errors.required(field);
    else if (!["NotRequired", "RestartContainer"].includes(restartPolicy))
      errors.unsupported(field, restartPolicy, ["NotRequired", "RestartContainer"]);
    if (spec.restartPolicy === "Never" && restartPolicy !== "NotRequired")
      errors.invalid(field, restartPolicy, "must be 'NotRequired' when pod `restartPolicy` is 'Never'");
  }
}
