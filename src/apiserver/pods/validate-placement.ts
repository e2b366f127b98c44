import type { NodeSelectorTerm, PodAffinityTerm, PodSpec, Toleration, TopologySpreadConstraint } from "#k8s";
import type { FieldErrors } from "../field-errors.ts";
import { dnsLabelErrors, dnsSubdomainErrors, labelValueErrors, qualifiedNameErrors, validateLabels } from "../names.ts";
import { ABOVE_ZERO, among } from "./rules.ts";

type Selector = NonNullable<PodAffinityTerm["labelSelector"]>;
type NodeRequirement = NonNullable<NodeSelectorTerm["matchExpressions"]>[number];

const EFFECTS = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/** Upstream's validateAffinity: where a Pod wants to be, and beside which others. */
export function validateAffinity({ affinity = {} }: PodSpec, field: string, errors: FieldErrors): void {
  const { nodeAffinity, podAffinity, podAntiAffinity } = affinity;
  const required = nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  if (required !== undefined) {
    const at = `${field}.nodeAffinity.${REQUIRED}.nodeSelectorTerms`;
    const terms = required.nodeSelectorTerms ?? [];
    if (terms.length === 0) errors.required(at, "must have at least one node selector term");
    for (const [i, term] of terms.entries()) nodeTerm(term, `${at}[${i}]`, true, errors);
  }
  const preferred = nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  for (const [i, { weight, preference }] of preferred.entries()) {
    const at = `${field}.nodeAffinity.${PREFERRED}[${i}]`;
    validateWeight(weight, `${at}.weight`, errors);
    nodeTerm(preference, `${at}.preference`, false, errors);
  }
  for (const [name, given] of Object.entries({ podAffinity, podAntiAffinity })) {
    for (const [i, term] of (given?.requiredDuringSchedulingIgnoredDuringExecution ?? []).entries())
      podTerm(term, `${field}.${name}.${REQUIRED}[${i}]`, errors);
    for (const [i, term] of (given?.preferredDuringSchedulingIgnoredDuringExecution ?? []).entries()) {
      const at = `${field}.${name}.${PREFERRED}[${i}]`;
      validateWeight(term.weight, `${at}.weight`, errors);
      podTerm(term.podAffinityTerm, `${at}.podAffinityTerm`, errors);
    }
  }
}

const REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution";

function validateWeight(weight: number, field: string, errors: FieldErrors): void {
  if (weight <= 0 || weight > 100) errors.invalid(field, weight, "must be in the range 1-100");
}

function nodeTerm(term: NodeSelectorTerm, field: string, checkValues: boolean, errors: FieldErrors): void {
  for (const [i, requirement] of (term.matchExpressions ?? []).entries())
    nodeRequirement(requirement, `${field}.matchExpressions[${i}]`, checkValues, errors);
  for (const [i, { key, operator, values = [] }] of (term.matchFields ?? []).entries()) {
    const at = `${field}.matchFields[${i}]`;
    if (operator !== "In" && operator !== "NotIn")
      errors.invalid(`${at}.operator`, operator, "not a valid selector operator");
    else if (values.length !== 1)
      errors.required(
        `${at}.values`,
        "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
      );
    if (key !== "metadata.name") errors.invalid(`${at}.key`, key, "not a valid field selector key");
    else
      for (const [j, value] of values.entries())
        errors.invalidAll(`${at}.values[${j}]`, value, dnsSubdomainErrors(value));
  }
}

function nodeRequirement(
  { key, operator, values = [] }: NodeRequirement,
  field: string,
  checkValues: boolean,
  errors: FieldErrors,
): void {
  if (operator === "Gt" || operator === "Lt") {
    if (values.length !== 1)
      errors.required(`${field}.values`, "must be specified single value when `operator` is 'Lt' or 'Gt'");
  } else operatorAndValues(operator, values, field, errors);
  errors.invalidAll(`${field}.key`, key, qualifiedNameErrors(key));
  if (checkValues) labelValues(values, `${field}.values`, errors);
}

function operatorAndValues(operator: string, values: readonly string[], field: string, errors: FieldErrors): void {
  if (operator === "In" || operator === "NotIn") {
    if (values.length === 0) errors.required(`${field}.values`, "must be specified when `operator` is 'In' or 'NotIn'");
  } else if (operator === "Exists" || operator === "DoesNotExist") {
    if (values.length > 0)
      errors.forbidden(`${field}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
  } else errors.invalid(`${field}.operator`, operator, "not a valid selector operator");
}

function labelValues(values: readonly string[], field: string, errors: FieldErrors): void {
  for (const [i, value] of values.entries()) errors.invalidAll(`${field}[${i}]`, value, labelValueErrors(value));
}

/** Upstream's ValidateLabelSelector. */
export function validateSelector(selector: Selector | undefined, field: string, errors: FieldErrors): void {
  validateLabels(selector?.matchLabels, `${field}.matchLabels`, errors);
  for (const [i, { key, operator, values = [] }] of (selector?.matchExpressions ?? []).entries()) {
    const at = `${field}.matchExpressions[${i}]`;
    operatorAndValues(operator, values, at, errors);
    errors.invalidAll(`${at}.key`, key, qualifiedNameErrors(key));
    labelValues(values, `${at}.values`, errors);
  }
}

function podTerm(term: PodAffinityTerm, field: string, errors: FieldErrors): void {
  validateSelector(term.labelSelector, `${field}.labelSelector`, errors);
  validateSelector(term.namespaceSelector, `${field}.namespaceSelector`, errors);
  for (const name of term.namespaces ?? []) errors.invalidAll(`${field}.namespace`, name, dnsLabelErrors(name));
  labelKeys(term.labelSelector, term.matchLabelKeys, term.mismatchLabelKeys, field, errors);
  if (!term.topologyKey) errors.required(`${field}.topologyKey`, "can not be empty");
  errors.invalidAll(`${field}.topologyKey`, term.topologyKey, qualifiedNameErrors(term.topologyKey));
}

/** Upstream's ValidateMatchLabelKeysAndMismatchLabelKeys. */
function labelKeys(
  selector: Selector | undefined,
  match: readonly string[] = [],
  mismatch: readonly string[] = [],
  field: string,
  errors: FieldErrors,
): void {
  for (const [name, keys] of Object.entries({ matchLabelKeys: match, mismatchLabelKeys: mismatch })) {
    if (keys.length === 0) continue;
    if (selector === undefined)
      errors.forbidden(`${field}.${name}`, "must not be specified when labelSelector is not set");
    else
      for (const [i, key] of keys.entries()) errors.invalidAll(`${field}.${name}[${i}]`, key, qualifiedNameErrors(key));
  }
  const seen = new Set(Object.keys(selector?.matchLabels ?? {}));
  for (const { key } of selector?.matchExpressions ?? []) {
    const i = match.lastIndexOf(key);
    if (i >= 0 && seen.has(key))
      errors.invalid(`${field}[${i}]`, key, "exists in both matchLabelKeys and labelSelector");
    seen.add(key);
  }
  for (const [i, key] of match.entries())
    if (mismatch.includes(key))
      errors.invalid(`${field}.matchLabelKeys[${i}]`, key, "exists in both matchLabelKeys and mismatchLabelKeys");
}

/** Upstream's validateTopologySpreadConstraints. */
export function validateSpread(
  constraints: readonly TopologySpreadConstraint[],
  field: string,
  errors: FieldErrors,
): void {
  for (const [i, constraint] of constraints.entries()) {
    const at = `${field}[${i}]`;
    const { maxSkew, topologyKey, whenUnsatisfiable, minDomains } = constraint;
    if (maxSkew <= 0) errors.invalid(`${at}.maxSkew`, maxSkew, ABOVE_ZERO);
    if (!topologyKey) errors.required(`${at}.topologyKey`, "can not be empty");
    among(whenUnsatisfiable, ["DoNotSchedule", "ScheduleAnyway"], `${at}.whenUnsatisfiable`, errors);
    const isAgain = (other: TopologySpreadConstraint): boolean =>
      other.topologyKey === topologyKey && other.whenUnsatisfiable === whenUnsatisfiable;
    if (constraints.slice(i + 1).some(isAgain))
      errors.duplicate(`${at}.{topologyKey, whenUnsatisfiable}`, `{${topologyKey}, ${whenUnsatisfiable}}`);
    if (minDomains !== undefined) {
      if (minDomains <= 0) errors.invalid(`${at}.minDomains`, minDomains, ABOVE_ZERO);
      if (whenUnsatisfiable !== "DoNotSchedule")
        errors.invalid(
          `${at}.minDomains`,
          minDomains,
          `can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ${whenUnsatisfiable}`,
        );
    }
    for (const name of ["nodeAffinityPolicy", "nodeTaintsPolicy"] as const)
      among(constraint[name], ["Honor", "Ignore"], `${at}.${name}`, errors);
    labelKeys(constraint.labelSelector, constraint.matchLabelKeys, [], at, errors);
    validateSelector(constraint.labelSelector, `${at}.labelSelector`, errors);
  }
}

/** Upstream's ValidateTolerations. */
export function validateTolerations(tolerations: readonly Toleration[], field: string, errors: FieldErrors): void {
  for (const [i, { key = "", operator = "", value = "", effect = "", tolerationSeconds }] of tolerations.entries()) {
    const at = `${field}[${i}]`;
    if (key !== "") errors.invalidAll(`${at}.key`, key, qualifiedNameErrors(key));
    else if (operator !== "Exists")
      errors.invalid(
        `${at}.operator`,
        operator,
        'operator must be Exists when `key` is empty, which means "match all values and all keys"',
      );
    if (tolerationSeconds !== undefined && effect !== "NoExecute")
      errors.invalid(`${at}.effect`, effect, "effect must be 'NoExecute' when `tolerationSeconds` is set");
    if (operator === "" || operator === "Equal") {
      const wrong = labelValueErrors(value);
      if (wrong.length > 0) errors.invalid(`${at}.operator`, value, wrong.join(";"));
    } else if (operator === "Exists") {
      if (value !== "") errors.invalid(`${at}.operator`, value, "value must be empty when `operator` is 'Exists'");
    } else {
      const comparing = operator === "Lt" || operator === "Gt" ? ["Lt", "Gt"] : [];
      errors.unsupported(`${at}.operator`, operator, ["Equal", "Exists", ...comparing]);
    }
    if (effect !== "") among(effect, EFFECTS, `${at}.effect`, errors);
  }
}
