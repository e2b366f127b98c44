import { Failure } from "#base";
import type { Pod } from "#k8s";
import { type AnyContainer, entriesOf, nameOf, namespaceOf, specOf, uidOf } from "./pod.ts";
import { parseQuantity } from "./quantity.ts";

/** What a Pod may ask about itself that its object does not hold yet. */
export interface DownwardFacts {
  readonly podIps: readonly string[];
  readonly hostIps: readonly string[];
  readonly nodeName: string;
  /** Of the node: what a container without a limit is told. Cores and bytes. */
  readonly allocatable: Readonly<Record<string, number>>;
}

/** The value of a `fieldRef`. Labels and annotations come whole as `key="value"` lines, or one by `['key']`. */
export function fieldValue(pod: Pod, path: string, facts: DownwardFacts): string {
  const subscript = /^metadata\.(labels|annotations)\['(.*)'\]$/.exec(path);
  if (subscript) {
    const map = subscript[1] === "labels" ? pod.metadata?.labels : pod.metadata?.annotations;
    return map?.[subscript[2] ?? ""] ?? "";
  }
  switch (path) {
    case "metadata.name":
      return nameOf(pod);
    case "metadata.namespace":
      return namespaceOf(pod);
    case "metadata.uid":
      return uidOf(pod);
    case "metadata.labels":
      return formatMap(pod.metadata?.labels);
    case "metadata.annotations":
      return formatMap(pod.metadata?.annotations);
    case "spec.nodeName":
      return facts.nodeName;
    case "spec.serviceAccountName":
      return specOf(pod).serviceAccountName || "default";
    case "status.hostIP":
      return facts.hostIps[0] ?? "";
    case "status.hostIPs":
      return facts.hostIps.join(",");
    case "status.podIP":
      return facts.podIps[0] ?? "";
    case "status.podIPs":
      return facts.podIps.join(",");
    default:
      throw new Failure("INVALID_ARGUMENT", "UNSUPPORTED_FIELD", `unsupported fieldPath: ${path}`);
  }
}

export interface ResourceField {
  readonly containerName?: string;
  readonly resource: string;
  readonly divisor?: string;
}

/** The value of a `resourceFieldRef`, in units of its divisor, rounded up. */
export function resourceValue(
  pod: Pod,
  container: AnyContainer | undefined,
  field: ResourceField,
  facts: DownwardFacts,
): string {
  const name = field.containerName;
  const target = name ? entriesOf(pod).find((entry) => entry.container.name === name)?.container : container;
  if (!target) throw new Failure("NOT_FOUND", "NO_CONTAINER", `container ${name ?? ""} not found`);
  const dot = field.resource.indexOf(".");
  const kind = field.resource.slice(0, dot);
  const resource = field.resource.slice(dot + 1);
  const quantities = kind === "limits" ? target.resources?.limits : target.resources?.requests;
  const given = parseQuantity(quantities?.[resource]);
  const value = given || (kind === "limits" ? facts.allocatable[resource] : 0) || 0;
  const divisor = parseQuantity(field.divisor ?? "0") || 1;
  return String(Math.ceil(Number((value / divisor).toFixed(6))));
}

function formatMap(map: Readonly<Record<string, string>> | undefined): string {
  return Object.entries(map ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join("\n");
}
