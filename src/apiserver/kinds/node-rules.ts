import type { Node } from "#k8s";
import type { FieldErrors } from "../field-errors.ts";
import { labelValueErrors, qualifiedNameErrors } from "../names.ts";
import { amount } from "../pods/validate-resources.ts";

const EFFECTS = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/** Upstream's ValidateNode, after its metadata; that is where it looks for taints, in words. */
export function validateNode({ spec, status }: Node, errors: FieldErrors): void {
  taints(spec?.taints ?? [], "metadata.taints", errors);
  resources(status, errors);
}

function resources(status: Node["status"], errors: FieldErrors): void {
  for (const list of ["capacity", "allocatable"] as const)
    for (const [name, value] of Object.entries(status?.[list] ?? {}))
      amount(name, value, `status.${list}.${name}`, errors);
}

type Taints = NonNullable<NonNullable<Node["spec"]>["taints"]>;

function taints(given: Taints, field: string, errors: FieldErrors): void {
  const seen = new Set<string>();
  for (const [i, taint] of given.entries()) {
    const at = `${field}[${i}]`;
    const { key, value = "", effect } = taint;
    errors.invalidAll(`${at}.key`, key, qualifiedNameErrors(key));
    const wrong = labelValueErrors(value);
    if (wrong.length > 0) errors.invalid(`${at}.value`, value, wrong.join(";"));
    if (!effect) errors.required(`${at}.effect`);
    else if (!EFFECTS.includes(effect)) errors.unsupported(`${at}.effect`, effect, EFFECTS);
    const pair = `${effect}/${key}`;
    const shown = { Key: key, Value: value, Effect: effect, TimeAdded: taint.timeAdded ?? null };
    if (seen.has(pair)) errors.duplicate(at, shown, "taints must be unique by key and effect pair");
    seen.add(pair);
  }
}

/** Upstream's ValidateNodeUpdate: what names the machine is given once. */
export function validateNodeUpdate(node: Node, before: Node, errors: FieldErrors): void {
  resources(node.status, errors);
  const seen = new Set<string>();
  for (const [i, { type, address }] of (node.status?.addresses ?? []).entries()) {
    if (seen.has(`${type} ${address}`)) errors.duplicate(`status.addresses[${i}]`, { Type: type, Address: address });
    seen.add(`${type} ${address}`);
  }
  const [now, old] = [node.spec?.podCIDRs ?? [], before.spec?.podCIDRs ?? []];
  const changed = old.length !== now.length ? 1 : old.filter((cidr, i) => cidr !== now[i]).length;
  if (old.length > 0)
    for (let i = 0; i < changed; i++)
      errors.forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid');
  const provider = before.spec?.providerID ?? "";
  if (provider !== "" && provider !== (node.spec?.providerID ?? ""))
    errors.forbidden("spec.providerID", 'node updates may not change providerID except from "" to valid');
  taints(node.spec?.taints ?? [], "metadata.taints", errors);
}
