import { messageOf } from "#base";
import type { Pod, Probe } from "#k8s";
import type { Kubelet } from "./context.ts";
import { referenceTo } from "./events.ts";
import type { ContainerEntry } from "./pod.ts";
import type { ContainerView } from "./pod-view.ts";
import { runProbe } from "./run-probe.ts";

export type ProbeKind = "startup" | "liveness" | "readiness";

export interface ProbeLoopOptions {
  readonly kubelet: Kubelet;
  readonly pod: Pod;
  readonly entry: ContainerEntry;
  readonly container: ContainerView;
  readonly kind: ProbeKind;
  readonly probe: Probe;
  readonly podIp: string | undefined;
  /** False: the startup probe comes first. */
  readonly started: () => boolean;
  readonly wake: () => void;
}

/** One probe of one running container, again and again until stopped. */
export class ProbeLoop {
  /** Undefined until the thresholds say something. */
  result: boolean | undefined;
  readonly #options: ProbeLoopOptions;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  #last: boolean | undefined;
  #times = 0;

  constructor(options: ProbeLoopOptions) {
    this.#options = options;
    // A container lives until its probe says otherwise, and is not ready until it does.
    this.result = options.kind === "liveness" ? true : undefined;
    const { initialDelaySeconds = 0 } = options.probe;
    const age = options.kubelet.now() - Number(options.container.status.startedAt / 1_000_000n);
    this.#schedule(Math.max(0, initialDelaySeconds * 1000 - age));
  }

  /** How long the container has for its end when this probe condemns it; undefined: as long as its Pod says. */
  get graceSeconds(): number | undefined {
    return this.#options.probe.terminationGracePeriodSeconds;
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #schedule(ms: number): void {
    if (!this.#stopped) this.#timer = setTimeout(() => void this.#once(), ms);
  }

  async #once(): Promise<void> {
    const { kubelet, pod, entry, container, kind, probe, podIp } = this.#options;
    const periodMs = (probe.periodSeconds || 10) * 1000;
    // A startup probe that has succeeded is over.
    if (kind === "startup" && this.result === true) return;
    if (!this.#options.started()) {
      this.#schedule(Math.min(periodMs, 1000));
      return;
    }
    let ok = false;
    let output = "";
    try {
      ({ ok, output } = await runProbe(kubelet.runtime, probe, container.id, entry.container, podIp));
    } catch (error) {
      output = messageOf(error);
    }
    if (this.#stopped) return;
    if (!ok) {
      const name = kind.charAt(0).toUpperCase() + kind.slice(1);
      const message = `${name} probe failed: ${output}`;
      kubelet.recorder.event(referenceTo(pod, entry.fieldPath), "Warning", "Unhealthy", message);
    }
    this.#times = this.#last === ok ? this.#times + 1 : 1;
    this.#last = ok;
    const threshold = ok ? (probe.successThreshold ?? 1) : (probe.failureThreshold ?? 3);
    if (this.#times >= threshold && this.result !== ok) {
      this.result = ok;
      this.#options.wake();
    } else if (this.#times === threshold && !ok) this.#options.wake();
    this.#schedule(periodMs);
  }
}
