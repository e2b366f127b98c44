import type { Pod, Probe } from "#k8s";
import type { Kubelet } from "./context.ts";
import { referenceTo } from "./events.ts";
import { runtimeMessage } from "./grpc-text.ts";
import type { ContainerEntry } from "./pod.ts";
import type { ContainerView } from "./pod-view.ts";
import { type ProbeOutcome, runProbe } from "./run-probe.ts";

export type ProbeKind = "startup" | "liveness" | "readiness";

export interface ProbeLoopOptions {
  readonly kubelet: Kubelet;
  readonly pod: Pod;
  readonly entry: ContainerEntry;
  readonly container: ContainerView;
  readonly kind: ProbeKind;
  readonly probe: Probe;
  readonly podIp: string | undefined;
  /** What was known of the container before this kubelet began; it holds until its probe says otherwise. */
  readonly known: boolean | undefined;
  /** False: the startup probe comes first. */
  readonly started: () => boolean;
  readonly wake: () => void;
}

/** How often a container is asked until it is given up for this time. */
const TRIES = 3;

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
    this.result = options.kind === "liveness" ? true : options.known;
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
    const { kind, probe } = this.#options;
    const periodMs = (probe.periodSeconds || 10) * 1000;
    // A startup probe that has succeeded is over.
    if (kind === "startup" && this.result === true) return;
    if (!this.#options.started()) {
      this.#schedule(Math.min(periodMs, 1000));
      return;
    }
    const outcome = await this.#ask();
    if (this.#stopped) return;
    if (outcome) this.#count(outcome.result !== "failure");
    // What is condemned ends: asking it on would only disturb that.
    if (kind !== "readiness" && this.result === false) return;
    this.#schedule(periodMs);
  }

  /** Tries a few times where the container cannot be asked. Undefined: it could not be, which says nothing of it. */
  async #ask(): Promise<ProbeOutcome | undefined> {
    const { kubelet, entry, container, probe, podIp } = this.#options;
    const target = { containerId: container.id, container: entry.container, podIp };
    let error: unknown;
    for (let i = 0; i < TRIES && !this.#stopped; i++) {
      try {
        const outcome = await runProbe(kubelet.runtime, probe, target);
        if (outcome.result === "failure") this.#tell("Unhealthy", `probe failed: ${outcome.output}`);
        if (outcome.result === "warning") this.#tell("ProbeWarning", `probe warning: ${outcome.output}`);
        return outcome;
      } catch (caught) {
        error = caught;
      }
    }
    this.#tell("Unhealthy", `probe errored and resulted in unknown state: ${runtimeMessage(error)}`);
    return undefined;
  }

  #tell(reason: string, what: string): void {
    if (this.#stopped) return;
    const { kubelet, pod, entry, kind } = this.#options;
    const message = `${kind.charAt(0).toUpperCase()}${kind.slice(1)} ${what}`;
    kubelet.recorder.event(referenceTo(pod, entry.fieldPath), "Warning", reason, message);
  }

  #count(ok: boolean): void {
    const { probe, wake } = this.#options;
    this.#times = this.#last === ok ? this.#times + 1 : 1;
    this.#last = ok;
    const threshold = ok ? (probe.successThreshold ?? 1) : (probe.failureThreshold ?? 3);
    if (this.#times < threshold || this.result === ok) return;
    this.result = ok;
    wake();
  }
}
