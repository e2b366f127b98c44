import { isFailure } from "#base";
import { type Pod, type PodStatus, timestamp } from "#k8s";
import { kubePath } from "#wire";
import type { PinnedImage } from "./container-config.ts";
import type { Kubelet } from "./context.ts";
import { nameOf, namespaceOf } from "./pod.ts";
import type { PodView } from "./pod-view.ts";
import type { Prober } from "./prober.ts";
import { type ForcedEnd, podStatus, type Waiting } from "./status.ts";
import { statusPatch, withOwnStatus } from "./status-patch.ts";
import { terminationMessage } from "./termination-message.ts";

export interface Observed {
  readonly view: PodView;
  readonly waiting: ReadonlyMap<string, Waiting>;
  readonly imageVolumes: ReadonlyMap<string, PinnedImage>;
  readonly failed: ForcedEnd | undefined;
}

/** Whether a Pod is ready is also set by who loses its node; that is to be undone. */
const readyOf = (status: PodStatus | undefined): string | undefined =>
  status?.conditions?.find(({ type }) => type === "Ready")?.status;

/** Keeps the status of one Pod: makes it from what was observed, and writes it where it changed or was changed. */
export class PodReporter {
  readonly #kubelet: Kubelet;
  readonly #pod: () => Pod;
  readonly #prober: Prober;
  #status: PodStatus | undefined;
  #sent = "";
  readonly #messages = new Map<string, string>();

  constructor(kubelet: Kubelet, pod: () => Pod, prober: Prober) {
    this.#kubelet = kubelet;
    this.#pod = pod;
    this.#prober = prober;
  }

  /** The Pod as the API has it, with the status that was made last. */
  get pod(): Pod {
    return withOwnStatus(this.#pod(), this.#status);
  }

  /** When this node took the Pod on, as the API writes times. */
  get startTime(): string {
    return (this.#status ?? this.#pod().status)?.startTime ?? timestamp(this.#kubelet.now());
  }

  async make({ view, ...observed }: Observed): Promise<PodStatus> {
    for (const container of view.containers) {
      if (container.state !== "exited" || this.#messages.has(container.id)) continue;
      this.#messages.set(container.id, await terminationMessage(container));
    }
    const { runtimeName, supportsRecursiveReadOnly, hostIps, now } = this.#kubelet;
    return podStatus({
      ...observed,
      view,
      pod: this.pod,
      startedAndReady: (container) => this.#prober.startedAndReady(container),
      terminationMessage: ({ id }) => this.#messages.get(id) ?? "",
      runtimeName,
      supportsRecursiveReadOnly,
      hostIps,
      startTime: this.startTime,
      now: now(),
    });
  }

  async publish(status: PodStatus): Promise<void> {
    const text = JSON.stringify(status);
    const before = this.pod;
    this.#status = status;
    if (text === this.#sent && readyOf(this.#pod().status) === readyOf(status)) return;
    const at = { namespace: namespaceOf(before), name: nameOf(before), subresource: "status" };
    try {
      await this.#kubelet.client.patch(kubePath("v1", "pods", at), statusPatch(before, status), "strategic");
      this.#sent = text;
    } catch (error) {
      // Deleted, or another Pod of the same name: the watch tells.
      if (!isFailure(error, "NotFound", "Conflict")) throw error;
    }
  }

  /** Writes what could not be written before. */
  async republish(): Promise<void> {
    if (this.#status) await this.publish(this.#status);
  }
}
