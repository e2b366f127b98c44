import { messageOf } from "#base";
import type { Pod } from "#k8s";
import type { Kubelet } from "./context.ts";
import type { Kill } from "./plan.ts";
import { graceSecondsOf } from "./pod.ts";
import type { PodView } from "./pod-view.ts";
import { stopContainer } from "./stop-container.ts";

/** Ends containers of one Pod that probes or a new spec condemn, beside everything else. */
export class ContainerKills {
  readonly #kubelet: Kubelet;
  readonly #pod: () => Pod;
  readonly #wake: () => void;
  readonly #underWay = new Set<string>();

  constructor(kubelet: Kubelet, pod: () => Pod, wake: () => void) {
    this.#kubelet = kubelet;
    this.#pod = pod;
    this.#wake = wake;
  }

  /** Waits for nothing; who is being ended already is left to it. */
  begin(kills: readonly Kill[], view: PodView): void {
    const pod = this.#pod();
    const podIp = view.sandboxes[0]?.ips[0];
    for (const kill of kills) {
      const { id, name } = kill.container;
      if (this.#underWay.has(id)) continue;
      this.#underWay.add(id);
      const graceSeconds = kill.graceSeconds ?? graceSecondsOf(pod);
      void stopContainer(this.#kubelet, { ...kill, pod, graceSeconds, podIp })
        .catch((error: unknown) => {
          this.#kubelet.log.warn({ container: name, error: messageOf(error) }, "container not stopped");
        })
        .finally(() => {
          this.#underWay.delete(id);
          this.#wake();
        });
    }
  }
}
