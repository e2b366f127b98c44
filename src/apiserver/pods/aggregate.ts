import { formatQuantity, parseQuantity, type Pod, type PodSpec, type Quantity } from "#k8s";

type Sum = Record<string, Quantity>;
type Quantities = Readonly<Record<string, string>>;

function add(to: Sum, list: Quantities | undefined): void {
  for (const [name, text] of Object.entries(list ?? {})) {
    const quantity = parseQuantity(text);
    const { nano = 0n, format = quantity.format } = to[name] ?? {};
    to[name] = { nano: nano + quantity.nano, format };
  }
}

/**
 * What all containers of a Pod together ask for. Init containers come one by one, beside those before them that restart
 * always, so that the largest of them counts.
 */
export function aggregateRequests(spec: PodSpec): Quantities {
  const total: Sum = {};
  for (const { resources } of spec.containers ?? []) add(total, resources?.requests);
  const beside: Sum = {};
  const most: Sum = {};
  for (const { resources, restartPolicy } of spec.initContainers ?? []) {
    if (restartPolicy === "Always") {
      add(total, resources?.requests);
      add(beside, resources?.requests);
    }
    const now: Sum = { ...beside };
    if (restartPolicy !== "Always") add(now, resources?.requests);
    raise(most, now);
  }
  raise(total, most);
  return Object.fromEntries(Object.entries(total).map(([name, quantity]) => [name, formatQuantity(quantity)]));
}

function raise(to: Sum, other: Sum): void {
  for (const [name, quantity] of Object.entries(other))
    if ((to[name]?.nano ?? -1n) < quantity.nano) to[name] = quantity;
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
    add(requests, positive(resources?.requests));
    add(limits, positive(resources?.limits));
  }
  if (Object.keys(requests).length === 0 && Object.keys(limits).length === 0) return "BestEffort";
  const isLimited = all.every((resources) => MEASURED.every((name) => name in positive(resources?.limits)));
  const isMet = MEASURED.every((name) => requests[name]?.nano === limits[name]?.nano);
  return isLimited && isMet ? "Guaranteed" : "Burstable";
}
