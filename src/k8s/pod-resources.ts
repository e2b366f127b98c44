import { formatQuantity, parseQuantity, type Quantity } from "./quantity.ts";
import type { Pod, PodSpec } from "./types.ts";

type Quantities = Readonly<Record<string, string>>;
type Sum = Record<string, Quantity>;
type Resources = { readonly requests?: Quantities; readonly limits?: Quantities } | undefined;

/**
 * What all containers of a Pod together ask for. Init containers come one by one, beside those before them that restart
 * always, so that the largest of them counts.
 */
export function aggregateRequests(spec: PodSpec): Quantities {
  const total = sumOf(spec, (resources) => resources?.requests);
  return Object.fromEntries(Object.entries(total).map(([name, quantity]) => [name, formatQuantity(quantity)]));
}

/**
 * What a Pod as a whole requests, or is limited to, by resource: its containers, then its overhead, but for what `spec.resources`
 * says of the whole Pod. A limit without a request is one.
 */
export function podTotals(pod: Pod, kind: "requests" | "limits"): Readonly<Record<string, Quantity>> {
  const { spec } = pod;
  if (!spec) return {};
  const list = (resources: Resources): Quantities | undefined =>
    kind === "limits" ? resources?.limits : { ...resources?.limits, ...resources?.requests };
  const total = sumOf(spec, list);
  const overhead = Object.entries((spec.overhead ?? {}) as Quantities);
  // Overhead alone limits nothing.
  add(total, Object.fromEntries(overhead.filter(([name]) => kind === "requests" || (total[name]?.nano ?? 0n) > 0n)));
  const whole: Sum = {};
  add(whole, list(spec.resources));
  for (const [name, quantity] of Object.entries(whole)) if (quantity.nano > 0n) total[name] = quantity;
  return total;
}

const MEASURED = ["cpu", "memory"];

/** The quality of service that its requests and limits put a Pod in: its own where it has some, else its containers'. */
export function qosClass({ spec }: Pod): "Guaranteed" | "Burstable" | "BestEffort" {
  const containers = [...(spec?.containers ?? []), ...(spec?.initContainers ?? [])];
  const all = spec?.resources === undefined ? containers.map(({ resources }) => resources) : [spec.resources];
  const requests: Sum = {};
  const limits: Sum = {};
  const positive = (list: Quantities = {}): Quantities =>
    Object.fromEntries(
      Object.entries(list).filter(([name, text]) => MEASURED.includes(name) && parseQuantity(text).nano > 0n),
    );
  for (const resources of all) {
    add(requests, positive({ ...resources?.limits, ...resources?.requests }));
    add(limits, positive(resources?.limits));
  }
  if (Object.keys(requests).length === 0 && Object.keys(limits).length === 0) return "BestEffort";
  const isLimited = all.every((resources) => MEASURED.every((name) => name in positive(resources?.limits)));
  const isMet = MEASURED.every((name) => requests[name]?.nano === limits[name]?.nano);
  return isLimited && isMet ? "Guaranteed" : "Burstable";
}

function sumOf(spec: PodSpec, listOf: (resources: Resources) => Quantities | undefined): Sum {
  const total: Sum = {};
  for (const { resources } of spec.containers ?? []) add(total, listOf(resources));
  const beside: Sum = {};
  const most: Sum = {};
  for (const { resources, restartPolicy } of spec.initContainers ?? []) {
    if (restartPolicy === "Always") {
      add(total, listOf(resources));
      add(beside, listOf(resources));
    }
    const now: Sum = { ...beside };
    if (restartPolicy !== "Always") add(now, listOf(resources));
    raise(most, now);
  }
  raise(total, most);
  return total;
}

function add(to: Sum, list: Quantities | undefined): void {
  for (const [name, text] of Object.entries(list ?? {})) {
    const quantity = parseQuantity(text);
    const { nano = 0n, format = quantity.format } = to[name] ?? {};
    to[name] = { nano: nano + quantity.nano, format };
  }
}

function raise(to: Sum, other: Sum): void {
  for (const [name, quantity] of Object.entries(other))
    if ((to[name]?.nano ?? -1n) < quantity.nano) to[name] = quantity;
}
