import { Failure } from "#base";
import type { Left, Measured, Signal } from "./measure.ts";
import { SIGNALS } from "./measure.ts";
import { parseQuantity } from "./quantity.ts";

export type Pressure = "MemoryPressure" | "DiskPressure" | "PIDPressure";

/** How little of something may be left before Pods are evicted. */
export interface Threshold {
  readonly signal: Signal;
  /** Bytes, inodes or processes, of so many there are. */
  readonly quantity: (capacity: number) => number;
}

/** Upstream's `evictionHard`. */
export const DEFAULT_THRESHOLDS: Readonly<Record<string, string>> = {
  "memory.available": "100Mi",
  "nodefs.available": "10%",
  "nodefs.inodesFree": "5%",
  "imagefs.available": "15%",
  "imagefs.inodesFree": "5%",
};

/** @throws Failure INVALID_THRESHOLD for an unknown signal, or what is no quantity and no percentage */
export function parseThresholds(evictionHard: Readonly<Record<string, string>>): Threshold[] {
  return Object.entries(evictionHard).map(([name, value]) => {
    const signal = SIGNALS.find((one) => one === name);
    if (!signal) throw invalid(name, value, `the signal is none of ${SIGNALS.join(", ")}`);
    const percent = /^(\d+(?:\.\d+)?)%$/.exec(value)?.[1];
    if (percent !== undefined)
      return { signal, quantity: (capacity) => Math.floor((capacity * Number(percent)) / 100) };
    const amount = parseQuantity(value);
    if (amount === undefined || amount < 0) throw invalid(name, value, "it is neither a quantity nor a percentage");
    return { signal, quantity: () => amount };
  });
}

const invalid = (name: string, value: string, why: string): Failure =>
  new Failure("INVALID_ARGUMENT", "INVALID_THRESHOLD", `evictionHard ${name}<${value}: ${why}`);

export function isMet({ signal, quantity }: Threshold, measured: Measured): boolean {
  const left: Left | undefined = measured[signal];
  return left !== undefined && left.available < quantity(left.capacity);
}

/** What Pods can never have of `capacity`, since they would be evicted before. */
export function reservedBy(thresholds: readonly Threshold[], signal: Signal, capacity: number): number {
  return Math.max(0, ...thresholds.filter((one) => one.signal === signal).map(({ quantity }) => quantity(capacity)));
}

/** What Pods are asked to give back, and so what they are ranked by. */
export type Resource = "memory" | "ephemeral-storage" | "inodes" | "pids";

export function resourceOf(signal: Signal): Resource {
  if (signal === "memory.available") return "memory";
  if (signal === "pid.available") return "pids";
  return signal.endsWith("inodesFree") ? "inodes" : "ephemeral-storage";
}

export function pressureOf(signal: Signal): Pressure {
  if (signal === "memory.available") return "MemoryPressure";
  return signal === "pid.available" ? "PIDPressure" : "DiskPressure";
}
