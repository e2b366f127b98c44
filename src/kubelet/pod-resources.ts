import { type Pod, podTotals } from "#k8s";
import { type AnyContainer, qosOf, specOf, wholeOf } from "./pod.ts";
import { parseQuantity } from "./quantity.ts";

/** Cores, bytes, and whatever else is counted, by name. */
export type Amounts = Readonly<Record<string, number>>;

type Kind = "requests" | "limits";

/** What a Pod as a whole requests, or is limited to. */
export const podAmounts = (pod: Pod, kind: Kind): Amounts =>
  Object.fromEntries(Object.entries(podTotals(pod, kind)).map(([name, { nano }]) => [name, Number(nano) / 1e9]));

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
