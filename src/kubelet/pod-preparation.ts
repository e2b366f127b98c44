import { messageOf } from "#base";
import type { Pod } from "#k8s";
import type { Kubelet } from "./context.ts";
import type { SandboxConfig } from "./cri.ts";
import { dnsOf } from "./dns.ts";
import type { DownwardFacts } from "./downward.ts";
import { referenceTo } from "./events.ts";
import { runtimeMessage } from "./grpc-text.ts";
import type { Plan } from "./plan.ts";
import { type ContainerEntry, entriesOf, graceSecondsOf, specOf } from "./pod.ts";
import type { PodContent } from "./pod-content.ts";
import type { PodEnding } from "./pod-ending.ts";
import { newestOf, type PodView } from "./pod-view.ts";
import { refuseUserNamespaces, runtimeHandlerOf } from "./runtime-class.ts";
import { sandboxConfig } from "./sandbox-config.ts";
import type { Waiting } from "./status.ts";
import { unsupported } from "./unsupported.ts";

/** A runtime that takes longer over a sandbox is asked again. Milliseconds, as upstream. */
const SANDBOX_TIMEOUT = 240_000;

/** All that one Pod needs before its first container: volumes, cgroup and sandbox. What fails holds the whole Pod for a while. */
export class PodPreparation {
  readonly #kubelet: Kubelet;
  readonly #pod: () => Pod;
  readonly #content: PodContent;
  readonly #ending: PodEnding;
  #volumePaths: ReadonlyMap<string, string> | undefined;
  #volumesAt = 0;
  #held: { readonly message: string; readonly waitMs: number; readonly until: number } | undefined;

  constructor(kubelet: Kubelet, pod: () => Pod, content: PodContent, ending: PodEnding) {
    this.#kubelet = kubelet;
    this.#pod = pod;
    this.#content = content;
    this.#ending = ending;
  }

  /** Where the Pod's volumes lie, by their names. Undefined until they are prepared. */
  get volumePaths(): ReadonlyMap<string, string> | undefined {
    return this.#volumePaths;
  }

  /** Makes what is missing, and begins to fetch what `first` need. Undefined: the Pod is held, and was told why. */
  async prepare(
    pod: Pod,
    plan: Plan,
    first: readonly ContainerEntry[],
    view: PodView,
  ): Promise<SandboxConfig | undefined> {
    if (this.#held && this.#kubelet.now() < this.#held.until) return undefined;
    const refusal = unsupported(pod);
    if (refusal !== undefined) return this.#hold("FailedCreatePodSandBox", refusal);
    try {
      if (!this.#volumePaths) await this.#prepareVolumes(view);
    } catch (error) {
      return this.#hold("FailedMount", messageOf(error));
    }
    try {
      await this.#kubelet.cgroups.prepare(pod);
    } catch (error) {
      return this.#hold("FailedCreatePodContainer", `unable to ensure pod container exists: ${messageOf(error)}`);
    }
    const config = await this.#sandboxConfig(plan.createSandbox ?? plan.sandbox?.attempt ?? 0);
    this.#content.begin(first, config);
    try {
      if (plan.createSandbox !== undefined) await this.#createSandbox(view, config);
    } catch (error) {
      return this.#hold("FailedCreatePodSandBox", `Failed to create pod sandbox: ${runtimeMessage(error)}`);
    }
    this.#held = undefined;
    return config;
  }

  /** Notes for all containers that never ran what holds the Pod. Milliseconds until the next try. */
  wait(view: PodView, waiting: Map<string, Waiting>): number {
    const { message, until } = this.#held ?? { until: 0 };
    const initializing = (specOf(this.#pod()).initContainers?.length ?? 0) > 0;
    for (const { container } of entriesOf(this.#pod())) {
      if (newestOf(view, container.name)) continue;
      const reason = initializing ? "PodInitializing" : "ContainerCreating";
      waiting.set(container.name, { reason, message });
    }
    return Math.max(1, until - this.#kubelet.now());
  }

  /** Writes the volumes anew, now and then, for what the API changed meanwhile. */
  async refreshVolumes(view: PodView): Promise<void> {
    const { now, syncMs, recorder } = this.#kubelet;
    if (now() - this.#volumesAt < syncMs) return;
    await this.#prepareVolumes(view).catch((error: unknown) => {
      recorder.event(referenceTo(this.#pod()), "Warning", "FailedMount", messageOf(error));
    });
  }

  /** What the Pod may be told of itself and its node. */
  facts(view: PodView): DownwardFacts {
    const { hostIps, nodeName, allocatable } = this.#kubelet;
    const podIps = specOf(this.#pod()).hostNetwork ? hostIps : (view.sandboxes[0]?.ips ?? []);
    return { podIps, hostIps, nodeName, allocatable };
  }

  async #prepareVolumes(view: PodView): Promise<void> {
    const { volumes, objects, tokens, now } = this.#kubelet;
    this.#volumesAt = now();
    this.#volumePaths = await volumes.prepare({ pod: this.#pod(), objects, tokens, facts: this.facts(view) });
  }

  async #sandboxConfig(attempt: number): Promise<SandboxConfig> {
    const { cgroups, podLogsDir, dns, nodeName } = this.#kubelet;
    const pod = this.#pod();
    const cgroupParent = cgroups.parentOf(pod);
    return sandboxConfig(pod, { podLogsDir, cgroupParent, dns: dnsOf(pod, await dns()), attempt, nodeName });
  }

  async #createSandbox(view: PodView, config: SandboxConfig): Promise<void> {
    const { runtime, recorder, client } = this.#kubelet;
    const pod = this.#pod();
    const runtimeHandler = await runtimeHandlerOf(client, pod);
    await refuseUserNamespaces(runtime, pod, runtimeHandler);
    if (view.sandboxes.length > 0) {
      const message = "Pod sandbox changed, it will be killed and re-created.";
      recorder.event(referenceTo(pod), "Normal", "SandboxChanged", message);
      await this.#ending.stop(view, graceSecondsOf(pod));
      // Also those that are not ready: their network is still to be given back.
      for (const { id } of view.sandboxes) await runtime.stopPodSandbox({ podSandboxId: id });
    }
    await runtime.runPodSandbox({ config, runtimeHandler }, { timeout: SANDBOX_TIMEOUT });
  }

  /** The wait before the next try doubles. */
  #hold(reason: string, message: string): undefined {
    const { recorder, now, retryMs } = this.#kubelet;
    recorder.event(referenceTo(this.#pod()), "Warning", reason, message);
    const waitMs = Math.min(retryMs, (this.#held?.waitMs ?? retryMs / 20) * 2);
    this.#held = { message, waitMs, until: now() + waitMs };
  }
}
