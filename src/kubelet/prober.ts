import type { Pod } from "#k8s";
import type { Kubelet } from "./context.ts";
import type { Health } from "./plan.ts";
import { entriesOf, statusOf } from "./pod.ts";
import type { ContainerView, PodView } from "./pod-view.ts";
import { type ProbeKind, ProbeLoop } from "./probe-loop.ts";

const KINDS: readonly ProbeKind[] = ["startup", "liveness", "readiness"];

/** Runs the probes of one Pod's containers and knows what they found. */
export class Prober {
  readonly #kubelet: Kubelet;
  readonly #wake: () => void;
  readonly #loops = new Map<string, Map<ProbeKind, ProbeLoop>>();

  constructor(kubelet: Kubelet, wake: () => void) {
    this.#kubelet = kubelet;
    this.#wake = wake;
  }

  /** Probes every container that runs, and stops probing what does not. */
  follow(pod: Pod, view: PodView): void {
    const running = new Map(
      view.containers.filter(({ state }) => state === "running").map((container) => [container.id, container]),
    );
    for (const [id, loops] of this.#loops) {
      if (running.has(id)) continue;
      for (const loop of loops.values()) loop.stop();
      this.#loops.delete(id);
    }
    const entries = new Map(entriesOf(pod).map((entry) => [entry.container.name, entry]));
    const podIp = view.sandboxes[0]?.ips[0] ?? this.#kubelet.hostIps[0];
    for (const [id, container] of running) {
      const entry = entries.get(container.name);
      if (!entry || this.#loops.has(id)) continue;
      const loops = new Map<ProbeKind, ProbeLoop>();
      const known = this.#knownOf(pod, container);
      this.#loops.set(id, loops);
      for (const kind of KINDS) {
        const probe = entry.container[`${kind}Probe`];
        if (!probe) continue;
        const started = (): boolean => kind === "startup" || this.#started(id);
        loops.set(
          kind,
          new ProbeLoop({
            kubelet: this.#kubelet,
            pod,
            entry,
            container,
            kind,
            probe,
            podIp,
            known: kind === "liveness" ? undefined : known[kind],
            started,
            wake: this.#wake,
          }),
        );
      }
    }
  }

  /** What the status says of a container that ran before this kubelet began. A probe that was never well says nothing. */
  #knownOf(pod: Pod, { id, name }: ContainerView): { readonly startup?: true; readonly readiness?: true } {
    const status = statusOf(pod, name);
    if (!status?.containerID?.endsWith(`//${id}`)) return {};
    return { ...(status.started ? { startup: true } : {}), ...(status.ready ? { readiness: true } : {}) };
  }

  healthOf(container: ContainerView): Health {
    const loops = this.#loops.get(container.id);
    for (const kind of ["startup", "liveness"] as const) {
      const loop = loops?.get(kind);
      if (loop?.result === false)
        return {
          started: this.#started(container.id),
          killReason: `Container ${container.name} failed ${kind} probe`,
          killGraceSeconds: loop.graceSeconds,
        };
    }
    return { started: this.#started(container.id) };
  }

  startedAndReady(container: ContainerView): { readonly started: boolean; readonly ready: boolean } {
    const started = this.#started(container.id);
    const readiness = this.#loops.get(container.id)?.get("readiness");
    return { started, ready: started && (!readiness || readiness.result === true) };
  }

  stop(): void {
    for (const loops of this.#loops.values()) for (const loop of loops.values()) loop.stop();
    this.#loops.clear();
  }

  #started(id: string): boolean {
    const startup = this.#loops.get(id)?.get("startup");
    return !startup || startup.result === true;
  }
}
