import { timestamp, withCondition, type Pod } from "#k8s";
import { pods } from "./kinds/pod.ts";
import { withStatus } from "./node-lifecycle.ts";
import type { Objects } from "./objects.ts";

/** Removes Pods whose node has been gone for a while: no kubelet will ever end them. */
export class Orphans {
  readonly #objects: Objects;
  readonly #grace: number;
  /** Since when each node was missed. */
  readonly #missed = new Map<string, number>();

  /** `grace`: the milliseconds a node is waited for. */
  constructor(objects: Objects, grace: number) {
    this.#objects = objects;
    this.#grace = grace;
  }

  sweep(): void {
    const { storage } = this.#objects;
    const bound = Map.groupBy(storage.list("pods"), ({ object }) => (object as Pod).spec?.nodeName ?? "");
    bound.delete("");
    for (const node of this.#missed.keys())
      if (!bound.has(node) || storage.get("nodes", "", node) !== undefined) this.#missed.delete(node);
    const now = performance.now();
    for (const [node, orphans] of bound) {
      if (storage.get("nodes", "", node) !== undefined) continue;
      const since = this.#missed.get(node);
      if (since === undefined) this.#missed.set(node, now);
      else if (now - since >= this.#grace) {
        for (const { namespace, name, object } of orphans) this.#remove(namespace, name, object as Pod);
        this.#missed.delete(node);
      }
    }
  }

  #remove(namespace: string, name: string, pod: Pod): void {
    const { phase } = pod.status ?? {};
    if (phase !== "Succeeded" && phase !== "Failed") {
      const conditions = withCondition(pod.status?.conditions, {
        type: "DisruptionTarget",
        status: "True",
        reason: "DeletionByPodGC",
        message: "PodGC: node no longer exists",
        lastTransitionTime: timestamp(),
      });
      this.#objects.put(pods, namespace, name, withStatus(pod, { phase: "Failed", conditions }));
    }
    this.#objects.delete(pods, namespace, name, { gracePeriodSeconds: 0 });
  }
}
