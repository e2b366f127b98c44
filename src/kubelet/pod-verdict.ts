import type { Pod } from "#k8s";
import type { Kubelet } from "./context.ts";
import { referenceTo } from "./events.ts";
import { graceSecondsOf, specOf } from "./pod.ts";
import type { ForcedEnd } from "./status.ts";

export const EVICTED = "Evicted";
/** What an evicted Pod has to end in. Seconds, as upstream. */
export const EVICTION_GRACE = 1;

/** What ends one Pod whatever its containers do: the node refuses it or evicts it, or its deadline is over. The first one stands. */
export class PodVerdict {
  readonly #kubelet: Kubelet;
  readonly #pod: () => Pod;
  #failed: ForcedEnd | undefined;
  #isAdmitted = false;

  constructor(kubelet: Kubelet, pod: () => Pod) {
    this.#kubelet = kubelet;
    this.#pod = pod;
  }

  get failed(): ForcedEnd | undefined {
    return this.#failed;
  }

  get isEvicted(): boolean {
    return this.#failed?.reason === EVICTED;
  }

  /** What the Pod has to end in. */
  get graceSeconds(): number {
    const grace = graceSecondsOf(this.#pod());
    return this.isEvicted ? Math.min(EVICTION_GRACE, grace) : grace;
  }

  evict(message: string, isDisruption: boolean): void {
    this.#fail({ reason: EVICTED, message, isDisruption }, "Warning", message);
  }

  /** Asks the node, once, whether it takes on a Pod that it never ran. */
  admit(pod: Pod): void {
    if (this.#isAdmitted) return;
    this.#isAdmitted = true;
    const refusal = pod.status?.startTime === undefined ? this.#kubelet.admission.refusal(pod) : undefined;
    if (refusal !== undefined)
      this.#fail({ reason: EVICTED, message: `Pod was rejected: ${refusal}` }, "Warning", refusal);
  }

  /** Milliseconds until its deadline, where that is still to come. */
  checkDeadline(startTime: string): number | undefined {
    const limit = specOf(this.#pod()).activeDeadlineSeconds;
    if (limit === undefined || this.#failed) return undefined;
    const left = Date.parse(startTime) + limit * 1000 - this.#kubelet.now();
    if (left > 0) return left;
    const message = "Pod was active on the node longer than the specified deadline";
    this.#fail({ reason: "DeadlineExceeded", message }, "Normal", message);
    return undefined;
  }

  #fail(failed: ForcedEnd, type: "Normal" | "Warning", message: string): void {
    if (this.#failed) return;
    this.#failed = failed;
    this.#kubelet.recorder.event(referenceTo(this.#pod()), type, failed.reason, message);
  }
}
