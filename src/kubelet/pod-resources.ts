import type { Pod } from "#k8s";
import { type AnyContainer, isSidecar, qosOf, specOf, wholeOf } from "./pod.ts";
import { parseQuantity } from "./quantity.ts";

/** Cores, bytes, and whatever else is counted, by name. */
export type Amounts = Readonly<Record<string, number>>;

type Kind = "requests" | "limits";

/**
 * What a Pod as a whole requests, or is limited to: the sum of its containers, or what its init containers need one after
 * another where that is more, and its overhead. What `spec.resources` says of the whole Pod goes before all of these.
 */
export function podAmounts(pod: Pod, kind: Kind): Amounts {
  const spec = specOf(pod);
  const total = new Map<string, number>();
  const most = new Map<string, number>();
  const sidecars = new Map<string, number>();
  for (const container of spec.containers) add(total, amountsOf(container, kind));
  for (const container of spec.initContainers ?? []) {
    const own = amountsOf(container, kind);
    if (isSidecar(container)) {
      add(total, own);
      add(sidecars, own);
      raise(most, Object.fromEntries(sidecars));
    } else {
      const beside = new Map(sidecars);
      add(beside, own);
      raise(most, Object.fromEntries(beside));
    }
  }
  raise(total, Object.fromEntries(most));
  const overhead = amounts(spec.overhead);
  add(total, kind === "requests" ? overhead : pick(overhead, ([name]) => (total.get(name) ?? 0) > 0));
  return { ...Object.fromEntries(total), ...pick(podLevel(pod, kind), ([, amount]) => amount > 0) };
}

/** What a container requests; a limit without a request is one. */
function amountsOf({ resources }: AnyContainer, kind: Kind): Amounts {
  const limits = amounts(resources?.limits);
  return kind === "limits" ? limits : { ...limits, ...amounts(resources?.requests) };
}

/** What the Pod as a whole says; likewise. */
export function podLevel(pod: Pod, kind: Kind): Amounts {
  return amountsOf({ name: "", resources: wholeOf(pod) }, kind);
}

/** The settings of the group that all containers of a Pod are in; what is undefined is not limited. */
export interface GroupLimits {
  readonly cpuShares: number;
  /** Microseconds of every {@link CPU_PERIOD}. */
  readonly cpuQuota: number | undefined;
  readonly memoryBytes: number | undefined;
}

/** Microseconds. */
export const CPU_PERIOD = 100_000;
const MIN_QUOTA = 1000;
const MIN_SHARES = 2;

export const sharesOf = (cores: number): number => Math.max(MIN_SHARES, Math.floor(cores * 1024));
export const quotaOf = (cores: number): number => Math.max(MIN_QUOTA, Math.round(cores * CPU_PERIOD));

/** A Pod is limited as a whole where all its containers are, or where it says so itself. */
export function groupLimits(pod: Pod): GroupLimits {
  if (qosOf(pod) === "BestEffort") return { cpuShares: MIN_SHARES, cpuQuota: undefined, memoryBytes: undefined };
  const { cpu, memory } = podAmounts(pod, "limits");
  const containers = [...specOf(pod).containers, ...(specOf(pod).initContainers ?? [])];
  const isLimited = (name: string): boolean =>
    (podLevel(pod, "limits")[name] ?? 0) > 0 || containers.every((one) => (amountsOf(one, "limits")[name] ?? 0) > 0);
  return {
    cpuShares: sharesOf(podAmounts(pod, "requests")["cpu"] ?? 0),
    cpuQuota: cpu && isLimited("cpu") ? quotaOf(cpu) : undefined,
    memoryBytes: memory && isLimited("memory") ? Math.floor(memory) : undefined,
  };
}

function amounts(quantities: Readonly<Record<string, unknown>> | undefined): Amounts {
  const parsed = Object.entries(quantities ?? {}).map(
    ([name, quantity]) => [name, parseQuantity(quantity) ?? 0] as const,
  );
  return Object.fromEntries(parsed);
}

function add(to: Map<string, number>, more: Amounts): void {
  for (const [name, amount] of Object.entries(more)) to.set(name, (to.get(name) ?? 0) + amount);
}

function raise(to: Map<string, number>, least: Amounts): void {
  for (const [name, amount] of Object.entries(least)) to.set(name, Math.max(to.get(name) ?? 0, amount));
}

const pick = (from: Amounts, test: (entry: [string, number]) => boolean): Amounts =>
  Object.fromEntries(Object.entries(from).filter(test));
