import { setTimeout as sleep } from "node:timers/promises";
import type { ObjectReference, Pod } from "#k8s";
import type { EventRecorder } from "./events.ts";
import { isCritical, rank } from "./eviction-rank.ts";
import { shortageMessage } from "./eviction-words.ts";
import { limitsDisk, overrun } from "./local-limits.ts";
import type { Measure, Measured } from "./measure.ts";
import { qosOf, specOf, uidOf } from "./pod.ts";
import { isMet, type Pressure, pressureOf, resourceOf, type Threshold } from "./thresholds.ts";
import type { Usages } from "./usage.ts";

export interface EvictionOptions {
  readonly measure: Measure;
  readonly thresholds: readonly Threshold[];
  readonly usages: Pick<Usages, "of">;
  /** The Pods that could go: those that are not over. */
  readonly pods: () => readonly Pod[];
  /** Ends a Pod for good; resolves when nothing of it is left but its object. */
  readonly evict: (podUid: string, message: string, isDisruption: boolean) => Promise<void>;
  /** Frees disk without touching a Pod. */
  readonly reclaim: () => Promise<void>;
  readonly recorder: EventRecorder;
  readonly node: ObjectReference;
  readonly now: () => number;
  /** How long a pressure is still told of after it was last seen, in milliseconds. */
  readonly transitionMs: number;
}

/** How long one Pod's end is waited for before the next look, in milliseconds. */
const PATIENCE = 30_000;
const TAINT = "node.kubernetes.io/memory-pressure";

/**
 * Keeps the node alive where memory, disk or processes run short: tells of the pressure, refuses new Pods, and evicts those that
 * run, one at a look. https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/
 */
export class Eviction {
  readonly #options: EvictionOptions;
  readonly #seenAt = new Map<Pressure, number>();
  #pressures: readonly Pressure[] = [];

  constructor(options: EvictionOptions) {
    this.#options = options;
  }

  /** As of the last look. */
  get pressures(): readonly Pressure[] {
    return this.#pressures;
  }

  /** Why the node takes this Pod on now no more; undefined where it does. */
  refusal(pod: Pod): string | undefined {
    if (this.#pressures.length === 0 || isCritical(pod)) return undefined;
    if (this.#pressures.every((pressure) => pressure === "MemoryPressure")) {
      if (qosOf(pod) !== "BestEffort") return undefined;
      const tolerates = (specOf(pod).tolerations ?? []).some(
        ({ key, operator, effect }) =>
          (key ? key === TAINT : operator === "Exists") && (!effect || effect === "NoSchedule"),
      );
      if (tolerates) return undefined;
    }
    return `The node had condition: [${this.#pressures.join(" ")}]. `;
  }

  /** Looks how the node is, and touches nothing. */
  async observe(): Promise<{ readonly measured: Measured; readonly met: readonly Threshold[] }> {
    const { measure, thresholds } = this.#options;
    const measured = await measure();
    const met = thresholds.filter((threshold) => isMet(threshold, measured));
    this.#note(met);
    return { measured, met };
  }

  /** Looks once, and evicts where it must. */
  async look(): Promise<void> {
    const { measure, thresholds, recorder, node, reclaim, usages } = this.#options;
    const { measured, met } = await this.observe();
    if (await this.#evictOverLimits()) return;
    const [first] = met.toSorted((a, b) => rankOf(a) - rankOf(b));
    if (!first) return;
    const resource = resourceOf(first.signal);
    recorder.event(node, "Warning", "EvictionThresholdMet", `Attempting to reclaim ${resource}`);
    if (pressureOf(first.signal) === "DiskPressure") {
      await reclaim();
      const after = await measure();
      if (!thresholds.some((threshold) => isMet(threshold, after))) return;
    }
    const pods = this.#options.pods();
    const uses = await usages.of(pods);
    const [pod] = rank(resource, pods, uses).filter((one) => !isCritical(one));
    if (pod) await this.#evict(pod, shortageMessage(resource, pod, uses.get(uidOf(pod)), met, measured), true);
  }

  #note(met: readonly Threshold[]): void {
    const { now, transitionMs } = this.#options;
    for (const { signal } of met) this.#seenAt.set(pressureOf(signal), now());
    for (const [pressure, at] of this.#seenAt)
      if (at !== now() && now() - at >= transitionMs) this.#seenAt.delete(pressure);
    this.#pressures = [...this.#seenAt.keys()].sort();
  }

  /** Pods that wrote more than they may. True where there were any. */
  async #evictOverLimits(): Promise<boolean> {
    const pods = this.#options.pods().filter((pod) => !isCritical(pod) && limitsDisk(pod));
    if (pods.length === 0) return false;
    const uses = await this.#options.usages.of(pods);
    const ends: Promise<void>[] = [];
    for (const pod of pods) {
      const use = uses.get(uidOf(pod));
      const message = use && overrun(pod, use);
      if (message !== undefined) ends.push(this.#evict(pod, message, false));
    }
    await Promise.all(ends);
    return ends.length > 0;
  }

  async #evict(pod: Pod, message: string, isDisruption: boolean): Promise<void> {
    const patience = new AbortController();
    await Promise.race([
      this.#options.evict(uidOf(pod), message, isDisruption),
      sleep(PATIENCE, undefined, { signal: patience.signal, ref: false }).catch(() => undefined),
    ]).finally(() => patience.abort());
  }
}

/** Memory first. */
const rankOf = ({ signal }: Threshold): number => (signal === "memory.available" ? 0 : 1);
