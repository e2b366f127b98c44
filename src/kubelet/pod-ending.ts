import { rm } from "node:fs/promises";
import { isFailure } from "#base";
import type { Pod } from "#k8s";
import { kubePath } from "#wire";
import type { Kubelet } from "./context.ts";
import { entriesOf, isSidecar, nameOf, namespaceOf, uidOf } from "./pod.ts";
import { type ContainerView, type PodView, viewPod } from "./pod-view.ts";
import { podLogsDirectory } from "./sandbox-config.ts";
import { stopContainer } from "./stop-container.ts";

/** Ends what runs of one Pod, and removes what is left of it. All of it can be done again at any point. */
export class PodEnding {
  readonly #kubelet: Kubelet;
  readonly #pod: () => Pod;
  #stopping: ReadonlySet<string> = new Set();

  constructor(kubelet: Kubelet, pod: () => Pod) {
    this.#kubelet = kubelet;
    this.#pod = pod;
  }

  /**
   * Stops all containers, the sidecars when the others have ended, the last first; then the sandboxes. preStop hooks run at once.
   * What is there then.
   */
  async stop(view: PodView, graceSeconds: number): Promise<PodView> {
    const { runtime } = this.#kubelet;
    const busy = view.containers.some(isBusy) || view.sandboxes.some(({ ready }) => ready);
    if (!busy) return view;
    await this.#stopContainers(view, graceSeconds);
    for (const { id, ready } of view.sandboxes) if (ready) await runtime.stopPodSandbox({ podSandboxId: id });
    return await viewPod(runtime, uidOf(this.#pod()));
  }

  /** Somebody wants a shorter end than the one under way. */
  hurry(graceSeconds: number): void {
    for (const containerId of this.#stopping) {
      void this.#kubelet.runtime
        .stopContainer({ containerId, timeout: BigInt(Math.max(1, graceSeconds)) })
        .catch(() => undefined);
    }
  }

  /** Removes containers and sandboxes from the runtime. */
  async remove(view: PodView): Promise<void> {
    const { runtime } = this.#kubelet;
    for (const { id } of view.containers) await runtime.removeContainer({ containerId: id });
    for (const { id, ready } of view.sandboxes) {
      if (ready) await runtime.stopPodSandbox({ podSandboxId: id });
      await runtime.removePodSandbox({ podSandboxId: id });
    }
  }

  /** Removes the Pod's directories, mounts, cgroups and logs, and everything that was remembered about it. */
  async clean(): Promise<void> {
    const { volumes, cgroups, podLogsDir, imageBackoff, crashBackoff, tokens } = this.#kubelet;
    const uid = uidOf(this.#pod());
    await volumes.teardown(uid);
    await cgroups.remove(uid);
    await rm(podLogsDirectory(podLogsDir, this.#pod()), { recursive: true, force: true });
    imageBackoff.forget(`${uid}_`);
    crashBackoff.forget(`${uid}_`);
    tokens.forget(uid);
  }

  /** Tells the API server that nothing of the Pod is left, which lets it go. Another Pod of its name is not touched. */
  async release(): Promise<void> {
    const pod = this.#pod();
    const path = kubePath("v1", "pods", { namespace: namespaceOf(pod), name: nameOf(pod) });
    const preconditions = { uid: uidOf(pod) };
    try {
      const options = { apiVersion: "v1", kind: "DeleteOptions", gracePeriodSeconds: 0, preconditions };
      await this.#kubelet.client.delete(path, options);
    } catch (error) {
      if (!isFailure(error, "NotFound", "Conflict")) throw error;
    }
  }

  /** Keeps the newest container of each name and the one before it, for `logs --previous`; older ones and empty sandboxes go. */
  async collect(view: PodView): Promise<void> {
    const { runtime } = this.#kubelet;
    const kept = new Map<string, number>();
    const sandboxes = new Set<string>();
    for (const container of view.containers) {
      const count = (kept.get(container.name) ?? 0) + 1;
      kept.set(container.name, count);
      if (count > 2 && container.state === "exited") await runtime.removeContainer({ containerId: container.id });
      else sandboxes.add(container.sandboxId);
    }
    for (const { id, ready } of view.sandboxes.slice(1)) {
      if (!ready && !sandboxes.has(id)) await runtime.removePodSandbox({ podSandboxId: id });
    }
  }

  async #stopContainers(view: PodView, graceSeconds: number): Promise<void> {
    const pod = this.#pod();
    const entries = new Map(entriesOf(pod).map((entry) => [entry.container.name, entry]));
    const running = view.containers.filter(isBusy);
    this.#stopping = new Set(running.map(({ id }) => id));
    const stop = (container: ContainerView, turn: Promise<unknown>): Promise<void> =>
      stopContainer(this.#kubelet, {
        pod,
        container,
        entry: entries.get(container.name),
        message: `Stopping container ${container.name}`,
        graceSeconds,
        podIp: view.sandboxes[0]?.ips[0],
        turn,
      });
    const sidecars = [...entries.values()]
      .filter(({ kind, container }) => kind === "init" && isSidecar(container))
      .map(({ container }) => container.name);
    const stops = running.filter(({ name }) => !sidecars.includes(name)).map((one) => stop(one, Promise.resolve()));
    for (const name of sidecars.reverse()) {
      const before = Promise.allSettled(stops);
      stops.push(...running.filter((one) => one.name === name).map((one) => stop(one, before)));
    }
    try {
      await Promise.all(stops);
    } finally {
      this.#stopping = new Set();
    }
  }
}

const isBusy = ({ state }: ContainerView): boolean => state === "running" || state === "unknown";
