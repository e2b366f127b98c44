import { type Node, parseQuantity, type Pod, podTotals, tolerates } from "#k8s";

/** Why a Pod cannot run on a node, in the words of a `FailedScheduling` event; undefined where it can. */
export function misfit(pod: Pod, node: Node, others: readonly Pod[]): string | undefined {
  const { spec } = pod;
  if (spec?.nodeName && spec.nodeName !== node.metadata?.name) return "node(s) didn't match the requested node name";
  if (node.spec?.unschedulable) return "node(s) were unschedulable";
  const labels = node.metadata?.labels ?? {};
  const wanted = Object.entries(spec?.nodeSelector ?? {});
  if (
    !wanted.every(([key, value]) => labels[key] === value) ||
    !affinityMatches(pod, labels, node.metadata?.name ?? "")
  )
    return "node(s) didn't match Pod's node affinity/selector";
  const taint = (node.spec?.taints ?? []).find(
    (one) =>
      one.effect !== "PreferNoSchedule" && !(spec?.tolerations ?? []).some((toleration) => tolerates(toleration, one)),
  );
  if (taint) return `node(s) had untolerated taint {${taint.key}: ${taint.value ?? ""}}`;
  if (!node.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True"))
    return "node(s) were not ready";
  return lacking(pod, node, others);
}

function affinityMatches(pod: Pod, labels: Readonly<Record<string, string>>, name: string): boolean {
  const terms = pod.spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms;
  if (!terms) return true;
  return terms.some((term) => {
    const rules = [
      ...(term.matchExpressions ?? []).map((rule) => ({ ...rule, actual: labels[rule.key] })),
      ...(term.matchFields ?? []).map((rule) => ({ ...rule, actual: rule.key === "metadata.name" ? name : undefined })),
    ];
    return rules.length > 0 && rules.every(({ operator, values = [], actual }) => ruleHolds(operator, values, actual));
  });
}

function ruleHolds(operator: string, values: readonly string[], actual: string | undefined): boolean {
  switch (operator) {
    case "In":
      return actual !== undefined && values.includes(actual);
    case "NotIn":
      return actual === undefined || !values.includes(actual);
    case "Exists":
      return actual !== undefined;
    case "DoesNotExist":
      return actual === undefined;
    case "Gt":
      return Number(actual) > Number(values[0]);
    case "Lt":
      return Number(actual) < Number(values[0]);
    default:
      return false;
  }
}

const NANO = 1_000_000_000n;

function lacking(pod: Pod, node: Node, others: readonly Pod[]): string | undefined {
  const here = others.filter(
    (other) =>
      other.spec?.nodeName === node.metadata?.name && !["Succeeded", "Failed"].includes(other.status?.phase ?? ""),
  );
  const allocatable = node.status?.allocatable ?? {};
  const limit = (name: string): bigint => nano(allocatable[name]);
  if (allocatable.pods !== undefined && BigInt(here.length + 1) * NANO > limit("pods")) return "Too many pods";
  const wanted = podTotals(pod, "requests");
  const taken = here.map((other) => podTotals(other, "requests"));
  for (const resource of ["cpu", "memory", "ephemeral-storage"]) {
    const asked = wanted[resource]?.nano ?? 0n;
    if (asked === 0n) continue;
    const used = taken.reduce((sum, other) => sum + (other[resource]?.nano ?? 0n), 0n);
    if (used + asked > limit(resource)) return `Insufficient ${resource}`;
  }
  return undefined;
}

function nano(quantity: string | undefined): bigint {
  return quantity === undefined ? 0n : parseQuantity(quantity).nano;
}
