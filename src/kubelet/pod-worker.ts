import { messageOf } from "#base";
import type { Pod } from "#k8s";
import { allEnded } from "./all-ended.ts";
import { Bell } from "./bell.ts";
import { ContainerKills } from "./container-kills.ts";
import { ContainerStarts } from "./container-starts.ts";
import type { Kubelet } from "./context.ts";
import type { SandboxConfig } from "./cri.ts";
import { type Plan, planPod } from "./plan.ts";
import { type ContainerEntry, entriesOf, graceSecondsOf, isTerminal, nameOf, uidOf } from "./pod.ts";
import { PodContent } from "./pod-content.ts";
import { PodEnding } from "./pod-ending.ts";
import { PodPreparation } from "./pod-preparation.ts";
import { PodReporter } from "./pod-reporter.ts";
import { EVICTED, EVICTION_GRACE, PodVerdict } from "./pod-verdict.ts";
import { newestOf, type PodView, viewPod } from "./pod-view.ts";
import { Prober } from "./prober.ts";
import type { Waiting } from "./status.ts";

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
  readonly #verdict: PodVerdict;
  readonly #preparation: PodPreparation;
  readonly #starts: ContainerStarts;
  readonly #kills: ContainerKills;
  readonly #running: Promise<void>;
  #pod: Pod;
  #gone = false;
  #stopped = false;

  /** An evicted Pod has nothing left here. */
  readonly #evicted = Promise.withResolvers<void>();

  constructor(kubelet: Kubelet, pod: Pod, onDone: () => void) {
    this.#kubelet = kubelet;
    this.#pod = pod;
    this.#onDone = onDone;
    const current = (): Pod => this.#pod;
    this.#content = new PodContent(kubelet, current, (ms) => this.#bell.ring(ms));
    this.#prober = new Prober(kubelet, () => this.#bell.ring());
    this.#reporter = new PodReporter(kubelet, current, this.#prober);
    this.#ending = new PodEnding(kubelet, current);
    this.#verdict = new PodVerdict(kubelet, current);
    this.#preparation = new PodPreparation(kubelet, current, this.#content, this.#ending);
    this.#starts = new ContainerStarts(
      kubelet,
      () => this.pod,
      this.#content,
      (ms) => this.#bell.ring(ms),
    );
    this.#kills = new ContainerKills(kubelet, current, () => this.#bell.ring());
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
    this.#verdict.evict(message, isDisruption);
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
      await this.#ending.stop(view, this.#verdict.graceSeconds);
      await this.#reporter.republish();
      await this.#kubelet.cgroups.remove(uidOf(pod));
      if (pod.status?.reason === EVICTED) await this.#discard();
      return false;
    }
    this.#verdict.admit(pod);
    const leftMs = this.#verdict.checkDeadline(this.#reporter.startTime);
    if (leftMs !== undefined) this.#bell.ring(leftMs);
    const waiting = new Map<string, Waiting>();
    if (!this.#verdict.failed) view = await this.#advance(pod, view, waiting);
    this.#prober.follow(pod, view);
    if (this.#isEnding()) {
      this.#bell.ring();
      return false;
    }
    await this.#report(view, waiting);
    if (this.#verdict.isEvicted) this.#bell.ring();
    else await this.#ending.collect(view);
    return false;
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
    const observed = { waiting, imageVolumes: this.#content.volumes, failed: this.#verdict.failed };
    let status = await this.#reporter.make({ ...observed, view });
    if (status.phase === "Succeeded" || status.phase === "Failed") {
      const after = await this.#ending.stop(view, this.#verdict.graceSeconds);
      if (after !== view) status = await this.#reporter.make({ ...observed, view: after });
      status = allEnded(this.#pod, status);
    }
    await this.#reporter.publish(status);
  }

  /** Does what can be done now; what must wait is noted in `waiting`. */
  async #advance(pod: Pod, before: PodView, waiting: Map<string, Waiting>): Promise<PodView> {
    const plan = this.#plan(before);
    this.#kills.begin(plan.kill, before);
    if (plan.createSandbox === undefined && plan.start.length === 0) {
      await this.#preparation.refreshVolumes(before);
      return before;
    }
    const config = await this.#preparation.prepare(pod, plan, this.#neededFirst(plan, before), before);
    if (!config) {
      this.#bell.ring(this.#preparation.wait(before, waiting));
      return before;
    }
    const { runtime } = this.#kubelet;
    const view = plan.createSandbox === undefined ? before : await viewPod(runtime, uidOf(pod));
    const next = plan.createSandbox === undefined ? plan : this.#plan(view);
    if (!(await this.#start(next, view, config, waiting))) return view;
    const after = await viewPod(runtime, uidOf(pod));
    // What comes next, the second init container say, need not wait for another look.
    if (this.#plan(after).start.some((entry) => !waiting.has(entry.container.name))) this.#bell.ring();
    return after;
  }

  /** True when the runtime was asked to start something. */
  async #start(plan: Plan, view: PodView, config: SandboxConfig, waiting: Map<string, Waiting>): Promise<boolean> {
    const { sandbox } = plan;
    const { volumePaths } = this.#preparation;
    let changed = false;
    for (const entry of plan.start) {
      if (this.#stopped || this.#isEnding() || !sandbox || !volumePaths) break;
      const around = { view, sandbox, config, volumePaths, facts: this.#preparation.facts(view) };
      if (await this.#starts.start(entry, around, waiting)) changed = true;
    }
    return changed;
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
