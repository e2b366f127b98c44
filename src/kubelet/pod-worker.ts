import { messageOf } from "#base";
import type { Pod } from "#k8s";
import { allEnded } from "./all-ended.ts";
import { Bell } from "./bell.ts";
import { ContainerStarts } from "./container-starts.ts";
import type { Kubelet } from "./context.ts";
import type { SandboxConfig } from "./cri.ts";
import { dnsOf } from "./dns.ts";
import type { DownwardFacts } from "./downward.ts";
import { referenceTo } from "./events.ts";
import { runtimeMessage } from "./grpc-text.ts";
import { type Kill, type Plan, planPod } from "./plan.ts";
import { type ContainerEntry, entriesOf, graceSecondsOf, isTerminal, nameOf, specOf, uidOf } from "./pod.ts";
import { PodContent } from "./pod-content.ts";
import { PodEnding } from "./pod-ending.ts";
import { PodReporter } from "./pod-reporter.ts";
import { newestOf, type PodView, viewPod } from "./pod-view.ts";
import { Prober } from "./prober.ts";
import { refuseUserNamespaces, runtimeHandlerOf } from "./runtime-class.ts";
import { sandboxConfig } from "./sandbox-config.ts";
import type { ForcedEnd, Waiting } from "./status.ts";
import { stopContainer } from "./stop-container.ts";
import { unsupported } from "./unsupported.ts";

/** A runtime that takes longer over a sandbox is asked again. Milliseconds, as upstream. */
const SANDBOX_TIMEOUT = 240_000;

const EVICTED = "Evicted";
/** What an evicted Pod has to end in. Seconds, as upstream. */
const EVICTION_GRACE = 1;

/**
 * Brings one Pod from what is to what its spec says, again and again: every look starts from the runtime's own view, so it does
 * not matter who died when. It never waits for a pull; it waits for nothing else than the runtime.
 */
export class PodWorker {
  readonly #kubelet: Kubelet;
  readonly #onDone: () => void;
  readonly #bell = new Bell();
  readonly #content: PodContent;
  readonly #prober: Prober;
  readonly #reporter: PodReporter;
  readonly #ending: PodEnding;
  readonly #starts: ContainerStarts;
  readonly #running: Promise<void>;
  #pod: Pod;
  #gone = false;
  #stopped = false;

  #volumePaths: ReadonlyMap<string, string> | undefined;
  #volumesAt = 0;
  /** What ends the Pod whatever its containers do. */
  #failed: ForcedEnd | undefined;
  /** The node took the Pod on, or looked whether it would. */
  #isAdmitted = false;
  /** An evicted Pod has nothing left here. */
  readonly #evicted = Promise.withResolvers<void>();
  /** What keeps all of the Pod from going on. */
  #held: { readonly message: string; readonly waitMs: number; readonly until: number } | undefined;
  readonly #killing = new Set<string>();

  constructor(kubelet: Kubelet, pod: Pod, onDone: () => void) {
    this.#kubelet = kubelet;
    this.#pod = pod;
    this.#onDone = onDone;
    const current = (): Pod => this.#pod;
    this.#content = new PodContent(kubelet, current, (ms) => this.#bell.ring(ms));
    this.#prober = new Prober(kubelet, () => this.#bell.ring());
    this.#reporter = new PodReporter(kubelet, current, this.#prober);
    this.#ending = new PodEnding(kubelet, current);
    this.#starts = new ContainerStarts(
      kubelet,
      () => this.pod,
      this.#content,
      (ms) => this.#bell.ring(ms),
    );
    this.#bell.ring();
    this.#running = this.#run();
  }

  /** The Pod as the API last had it, with the status that was last made of it. */
  get pod(): Pod {
    return this.#reporter.pod;
  }

  /** The ids of the images that its volumes stand for. */
  get imageVolumes(): readonly string[] {
    return [...this.#content.volumes.values()].map(({ id }) => id);
  }

  /** The API has a newer version of the Pod. */
  update(pod: Pod): void {
    const grace = graceSecondsOf(pod);
    const shorter = pod.metadata?.deletionTimestamp !== undefined && grace < graceSecondsOf(this.#pod);
    this.#pod = pod;
    if (shorter) this.#ending.hurry(grace);
    this.#bell.ring();
  }

  /** The Pod is gone from the API: what runs of it has no reason left. */
  remove(): void {
    this.#gone = true;
    this.#ending.hurry(0);
    this.#bell.ring();
  }

  /** Something about the Pod changed in the runtime. */
  wake(): void {
    this.#bell.ring();
  }

  /** Ends the Pod for good and at once, since the node needs what it takes. Resolves when only its object is left. */
  async evict(message: string, isDisruption: boolean): Promise<void> {
    if (!this.#failed) {
      this.#failed = { reason: EVICTED, message, isDisruption };
      this.#kubelet.recorder.event(referenceTo(this.#pod), "Warning", EVICTED, message);
    }
    this.#ending.hurry(EVICTION_GRACE);
    this.#bell.ring();
    await this.#evicted.promise;
  }

  /** Ends the worker and leaves the Pod as it is. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#bell.stop();
    this.#prober.stop();
    await this.#content.stop();
    await this.#running;
  }

  /**
   * Ends the worker, and what runs of its Pod, and says so in its status: a Pod that never restarts has then failed. The API's
   * object and the Pod's directory stay, so that it goes on as after a reboot. Grace periods are kept up to `maxGraceSeconds`.
   */
  async stopPod(maxGraceSeconds: number): Promise<void> {
    await this.stop();
    const { runtime, volumes, cgroups, log } = this.#kubelet;
    const uid = uidOf(this.#pod);
    const grace = Math.min(maxGraceSeconds, graceSecondsOf(this.#pod));
    const view = await this.#ending.stop(await viewPod(runtime, uid), grace);
    await this.#content.load();
    await this.#report(view, new Map()).catch((error: unknown) => {
      log.warn({ pod: nameOf(this.#pod), error: messageOf(error) }, "last status not written");
    });
    await this.#ending.remove(view);
    await volumes.unmount(uid);
    await cgroups.remove(uid);
  }

  async #run(): Promise<void> {
    for (;;) {
      await this.#bell.wait();
      if (this.#stopped) return;
      this.#bell.ring(this.#kubelet.syncMs);
      try {
        if (await this.#sync()) break;
      } catch (error) {
        if (this.#stopped) return;
        this.#kubelet.log.warn({ pod: nameOf(this.#pod), error: messageOf(error) }, "pod sync failed");
        this.#bell.ring(Math.min(this.#kubelet.retryMs, 2000));
      }
    }
    this.#stopped = true;
    this.#evicted.resolve();
    this.#bell.stop();
    this.#prober.stop();
    this.#onDone();
  }

  /** One look. True when the Pod is over and nothing of it is left. */
  async #sync(): Promise<boolean> {
    const pod = this.pod;
    await this.#content.load();
    let view = await viewPod(this.#kubelet.runtime, uidOf(pod));
    if (this.#isEnding()) {
      await this.#terminate(view);
      return true;
    }
    if (isTerminal(pod)) {
      await this.#ending.stop(view, this.#graceSeconds());
      await this.#reporter.republish();
      await this.#kubelet.cgroups.remove(uidOf(pod));
      if (pod.status?.reason === EVICTED) await this.#discard();
      return false;
    }
    this.#admit(pod);
    this.#checkDeadline(pod);
    const waiting = new Map<string, Waiting>();
    if (!this.#failed) view = await this.#advance(pod, view, waiting);
    this.#prober.follow(pod, view);
    if (this.#isEnding()) {
      this.#bell.ring();
      return false;
    }
    await this.#report(view, waiting);
    if (this.#failed?.reason === EVICTED) this.#bell.ring();
    else await this.#ending.collect(view);
    return false;
  }

  #graceSeconds(): number {
    const grace = graceSecondsOf(this.#pod);
    return this.#failed?.reason === EVICTED ? Math.min(EVICTION_GRACE, grace) : grace;
  }

  /** Asks the node, once, whether it takes on a Pod that it never ran. */
  #admit(pod: Pod): void {
    if (this.#isAdmitted) return;
    this.#isAdmitted = true;
    const refusal = pod.status?.startTime === undefined ? this.#kubelet.admission.refusal(pod) : undefined;
    if (refusal === undefined || this.#failed) return;
    this.#failed = { reason: EVICTED, message: `Pod was rejected: ${refusal}` };
    this.#kubelet.recorder.event(referenceTo(pod), "Warning", EVICTED, refusal);
  }

  /** Removes all that an evicted Pod has here: the node was short of it. */
  async #discard(): Promise<void> {
    await this.#content.stop();
    await this.#ending.remove(await viewPod(this.#kubelet.runtime, uidOf(this.#pod)));
    await this.#ending.clean();
    this.#evicted.resolve();
  }

  /** Makes and writes the status. A phase is final only once nothing of the Pod runs any more. */
  async #report(view: PodView, waiting: ReadonlyMap<string, Waiting>): Promise<void> {
    const observed = { waiting, imageVolumes: this.#content.volumes, failed: this.#failed };
    let status = await this.#reporter.make({ ...observed, view });
    if (status.phase === "Succeeded" || status.phase === "Failed") {
      const after = await this.#ending.stop(view, this.#graceSeconds());
      if (after !== view) status = await this.#reporter.make({ ...observed, view: after });
      status = allEnded(this.#pod, status);
    }
    await this.#reporter.publish(status);
  }

  /** Does what can be done now; what must wait is noted in `waiting`. */
  async #advance(pod: Pod, before: PodView, waiting: Map<string, Waiting>): Promise<PodView> {
    const kubelet = this.#kubelet;
    const plan = this.#plan(before);
    this.#kill(plan.kill, before);
    if (plan.createSandbox === undefined && plan.start.length === 0) {
      if (kubelet.now() - this.#volumesAt >= kubelet.syncMs) {
        await this.#prepareVolumes(before).catch((error: unknown) => {
          kubelet.recorder.event(referenceTo(pod), "Warning", "FailedMount", messageOf(error));
        });
      }
      return before;
    }
    if (this.#held && kubelet.now() < this.#held.until) return this.#waitForAll(before, waiting);
    const config = await this.#prepare(pod, plan, before);
    if (!config) return this.#waitForAll(before, waiting);
    this.#held = undefined;

    const view = plan.createSandbox === undefined ? before : await viewPod(kubelet.runtime, uidOf(pod));
    const next = plan.createSandbox === undefined ? plan : this.#plan(view);
    let changed = false;
    for (const entry of next.start) {
      if (this.#stopped || this.#isEnding()) break;
      if (!next.sandbox || !this.#volumePaths) break;
      const { sandbox } = next;
      const around = { view, sandbox, config, volumePaths: this.#volumePaths, facts: this.#facts(view) };
      if (await this.#starts.start(entry, around, waiting)) changed = true;
    }
    if (!changed) return view;
    const after = await viewPod(kubelet.runtime, uidOf(pod));
    // What comes next, the second init container say, need not wait for another look.
    if (this.#plan(after).start.some((entry) => !waiting.has(entry.container.name))) this.#bell.ring();
    return after;
  }

  /** Volumes, pulls and sandbox: all that comes before the first container. Undefined: held, and told why. */
  async #prepare(pod: Pod, plan: Plan, view: PodView): Promise<SandboxConfig | undefined> {
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
    this.#content.begin(this.#neededFirst(plan, view), config);
    if (plan.createSandbox === undefined) return config;
    try {
      await this.#createSandbox(view, config);
    } catch (error) {
      return this.#hold("FailedCreatePodSandBox", `Failed to create pod sandbox: ${runtimeMessage(error)}`);
    }
    return config;
  }

  /** The containers whose images are wanted before their turn comes: those that never ran and are the first to. */
  #neededFirst(plan: Plan, view: PodView): ContainerEntry[] {
    const entries = entriesOf(this.#pod);
    const init = entries.filter(({ kind }) => kind === "init").slice(0, 1);
    const apps = entries.filter(({ kind }) => kind === "app");
    const first = plan.start.length > 0 ? plan.start : init.length > 0 ? init : apps;
    return first.filter(({ container: { name } }) => !newestOf(view, name) && !this.#starts.hasFailed(name));
  }

  #plan(view: PodView): Plan {
    return planPod(this.pod, view, (container) => this.#prober.healthOf(container));
  }

  /** Ends containers that probes or a new spec condemn, beside everything else. */
  #kill(kills: readonly Kill[], view: PodView): void {
    const kubelet = this.#kubelet;
    const podIp = view.sandboxes[0]?.ips[0];
    for (const kill of kills) {
      const graceSeconds = kill.graceSeconds ?? graceSecondsOf(this.#pod);
      const { id, name } = kill.container;
      if (this.#killing.has(id)) continue;
      this.#killing.add(id);
      void stopContainer(kubelet, { ...kill, pod: this.#pod, graceSeconds, podIp })
        .catch((error: unknown) => {
          kubelet.log.warn({ container: name, error: messageOf(error) }, "container not stopped");
        })
        .finally(() => {
          this.#killing.delete(id);
          this.#bell.ring();
        });
    }
  }

  async #prepareVolumes(view: PodView): Promise<void> {
    const { volumes, objects, tokens, now } = this.#kubelet;
    this.#volumesAt = now();
    this.#volumePaths = await volumes.prepare({ pod: this.#pod, objects, tokens, facts: this.#facts(view) });
  }

  #facts(view: PodView): DownwardFacts {
    const { hostIps, nodeName, allocatable } = this.#kubelet;
    const podIps = specOf(this.#pod).hostNetwork ? hostIps : (view.sandboxes[0]?.ips ?? []);
    return { podIps, hostIps, nodeName, allocatable };
  }

  async #sandboxConfig(attempt: number): Promise<SandboxConfig> {
    const { cgroups, podLogsDir, dns, nodeName } = this.#kubelet;
    const pod = this.#pod;
    const cgroupParent = cgroups.parentOf(pod);
    return sandboxConfig(pod, { podLogsDir, cgroupParent, dns: dnsOf(pod, await dns()), attempt, nodeName });
  }

  async #createSandbox(view: PodView, config: SandboxConfig): Promise<void> {
    const { runtime, recorder, client } = this.#kubelet;
    const runtimeHandler = await runtimeHandlerOf(client, this.#pod);
    await refuseUserNamespaces(runtime, this.#pod, runtimeHandler);
    if (view.sandboxes.length > 0) {
      const message = "Pod sandbox changed, it will be killed and re-created.";
      recorder.event(referenceTo(this.#pod), "Normal", "SandboxChanged", message);
      await this.#ending.stop(view, graceSecondsOf(this.#pod));
      // Also those that are not ready: their network is still to be given back.
      for (const { id } of view.sandboxes) await runtime.stopPodSandbox({ podSandboxId: id });
    }
    await runtime.runPodSandbox({ config, runtimeHandler }, { timeout: SANDBOX_TIMEOUT });
  }

  /** Notes what keeps the whole Pod from going on; the wait before the next try doubles. */
  #hold(reason: string, message: string): undefined {
    const { recorder, now, retryMs } = this.#kubelet;
    recorder.event(referenceTo(this.#pod), "Warning", reason, message);
    const waitMs = Math.min(retryMs, (this.#held?.waitMs ?? retryMs / 20) * 2);
    this.#held = { message, waitMs, until: now() + waitMs };
  }

  #waitForAll(view: PodView, waiting: Map<string, Waiting>): PodView {
    const { message, until } = this.#held ?? { until: 0 };
    const initializing = (specOf(this.#pod).initContainers?.length ?? 0) > 0;
    for (const { container } of entriesOf(this.#pod)) {
      if (newestOf(view, container.name)) continue;
      const reason = initializing ? "PodInitializing" : "ContainerCreating";
      waiting.set(container.name, { reason, message });
    }
    this.#bell.ring(Math.max(1, until - this.#kubelet.now()));
    return view;
  }

  #checkDeadline(pod: Pod): void {
    const limit = specOf(pod).activeDeadlineSeconds;
    if (limit === undefined || this.#failed) return;
    const left = Date.parse(this.#reporter.startTime) + limit * 1000 - this.#kubelet.now();
    if (left > 0) {
      this.#bell.ring(left);
      return;
    }
    const message = "Pod was active on the node longer than the specified deadline";
    this.#failed = { reason: "DeadlineExceeded", message };
    this.#kubelet.recorder.event(referenceTo(pod), "Normal", "DeadlineExceeded", message);
  }

  #isEnding(): boolean {
    return this.#gone || this.#pod.metadata?.deletionTimestamp !== undefined;
  }

  async #terminate(before: PodView): Promise<void> {
    this.#prober.stop();
    await this.#content.stop();
    const grace = graceSecondsOf(this.#pod);
    const view = await this.#ending.stop(before, this.#gone ? Math.min(1, grace) : grace);
    if (!this.#gone) await this.#report(view, new Map());
    await this.#ending.remove(view);
    await this.#ending.clean();
    if (!this.#gone) await this.#ending.release();
  }
}
