import { rm } from "node:fs/promises";
import { isFailure, messageOf } from "#base";
import type { Pod, PodStatus } from "#k8s";
import { kubePath } from "#wire";
import { hashOf, imageVolumesOf, type PinnedImage } from "./container-config.ts";
import type { Kubelet } from "./context.ts";
import type { SandboxConfig } from "./cri.ts";
import { dnsOf } from "./dns.ts";
import type { DownwardFacts } from "./downward.ts";
import { referenceTo } from "./events.ts";
import { runtimeMessage } from "./grpc-text.ts";
import { defaultPolicy, VOLUME_ANNOTATION, type ImageRequest, type PullPolicy } from "./image-puller.ts";
import { type ImageState, type ImageTrouble, PodImages } from "./pod-images.ts";
import { type Plan, planPod } from "./plan.ts";
import {
  type ContainerEntry,
  entriesOf,
  graceSecondsOf,
  isSidecar,
  isTerminal,
  nameOf,
  namespaceOf,
  specOf,
  statusOf,
  uidOf,
} from "./pod.ts";
import { readPodRecord, writePodRecord } from "./pod-record.ts";
import { newestOf, type PodView, viewPod, type ContainerView } from "./pod-view.ts";
import { Prober } from "./prober.ts";
import { pullCredentials } from "./pull-secrets.ts";
import { podLogsDirectory, sandboxConfig } from "./sandbox-config.ts";
import { StartFailure, startContainer } from "./start-container.ts";
import { podStatus } from "./status.ts";
import { seconds } from "./time.ts";
import { statusPatch, withOwnStatus } from "./status-patch.ts";
import { stopContainer } from "./stop-container.ts";
import { unsupported } from "./unsupported.ts";
import { terminationMessage } from "./termination-message.ts";

const volumeKey = (reference: string, policy: string | undefined): string =>
  `volume:${policy || defaultPolicy(reference)}:${reference}`;

interface Waiting {
  readonly reason: string;
  readonly message?: string | undefined;
}

/**
 * Brings one Pod from what is to what its spec says, again and again: every look starts from the runtime's own view, so it does
 * not matter who died when. It never waits for a pull; it waits for nothing else than the runtime.
 */
export class PodWorker {
  readonly #kubelet: Kubelet;
  readonly #onDone: () => void;
  readonly #images: PodImages;
  readonly #prober: Prober;
  #pod: Pod;
  #gone = false;
  #stopped = false;
  #timer: NodeJS.Timeout | undefined;
  #dueAt = Number.POSITIVE_INFINITY;
  #bell = Promise.withResolvers<void>();
  readonly #running: Promise<void>;

  #status: PodStatus | undefined;
  #sent = "";
  #pinned: Map<string, PinnedImage> | undefined;
  #volumePaths: ReadonlyMap<string, string> | undefined;
  #volumesAt = 0;
  #failed: { reason: string; message: string } | undefined;
  #held: { readonly message: string; readonly waitMs: number; readonly until: number } | undefined;
  #terminating: ReadonlySet<string> = new Set();
  readonly #stopping = new Map<string, Promise<void>>();
  readonly #startFailures = new Map<string, Waiting & { readonly retryAt: number }>();
  /** Volumes whose image is not here any more, and what to pull instead of their reference. */
  readonly #lost = new Map<string, string>();
  readonly #told = new WeakMap<ImageTrouble, Set<string>>();
  readonly #toldCrash = new Set<string>();
  readonly #messages = new Map<string, string>();

  constructor(kubelet: Kubelet, pod: Pod, onDone: () => void) {
    this.#kubelet = kubelet;
    this.#pod = pod;
    this.#onDone = onDone;
    this.#images = new PodImages(kubelet.puller, kubelet.recorder, kubelet.now, (ms) => this.wake(ms));
    this.#prober = new Prober(kubelet, () => this.wake());
    this.wake();
    this.#running = this.#run();
  }

  /** The Pod as the API last had it. */
  get pod(): Pod {
    return withOwnStatus(this.#pod, this.#status);
  }

  /** The ids of the images that its volumes stand for. */
  get imageVolumes(): readonly string[] {
    return [...(this.#pinned?.values() ?? [])].map(({ id }) => id);
  }

  /** The API has a newer version of the Pod. */
  update(pod: Pod): void {
    const grace = graceSecondsOf(pod);
    const shorter = pod.metadata?.deletionTimestamp !== undefined && grace < graceSecondsOf(this.#pod);
    this.#pod = pod;
    if (shorter) this.#hurry(grace);
    this.wake();
  }

  /** The Pod is gone from the API: what runs of it has no reason left. */
  remove(): void {
    this.#gone = true;
    this.#hurry(0);
    this.wake();
  }

  /** Looks at the Pod after `delayMs` at the latest. */
  wake(delayMs = 0): void {
    if (this.#stopped) return;
    if (delayMs <= 0) {
      clearTimeout(this.#timer);
      this.#dueAt = Number.POSITIVE_INFINITY;
      this.#bell.resolve();
      return;
    }
    const due = performance.now() + delayMs;
    if (due >= this.#dueAt) return;
    clearTimeout(this.#timer);
    this.#dueAt = due;
    this.#timer = setTimeout(() => this.wake(), delayMs);
  }

  /** Ends the worker and leaves the Pod as it is. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#bell.resolve();
    this.#prober.stop();
    await this.#images.stop();
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
    const before = await viewPod(runtime, uid);
    await this.#stopContainers(before, Math.min(maxGraceSeconds, graceSecondsOf(this.#pod)));
    const view = await viewPod(runtime, uid);
    for (const { id, ready } of view.sandboxes) if (ready) await runtime.stopPodSandbox({ podSandboxId: id });
    const after = await viewPod(runtime, uid);
    this.#pinned ??= new Map((await readPodRecord(this.#podDirectory())).imageVolumes);
    await this.#publish(await this.#statusOf(after, new Map())).catch((error: unknown) => {
      log.warn({ pod: nameOf(this.#pod), error: messageOf(error) }, "last status not written");
    });
    await this.#removeFromRuntime(after);
    await volumes.unmount(uid);
    await cgroups.remove(uid);
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      await this.#bell.promise;
      this.#bell = Promise.withResolvers<void>();
      if (this.#stopped) return;
      this.wake(this.#kubelet.syncMs);
      try {
        if (await this.#sync()) break;
      } catch (error) {
        if (this.#stopped) return;
        this.#kubelet.log.warn({ pod: nameOf(this.#pod), error: messageOf(error) }, "pod sync failed");
        this.wake(Math.min(this.#kubelet.retryMs, 2000));
      }
    }
    if (this.#stopped) return;
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#prober.stop();
    this.#onDone();
  }

  /** One look. True when the Pod is over and nothing of it is left. */
  async #sync(): Promise<boolean> {
    const { runtime } = this.#kubelet;
    const pod = this.pod;
    let view = await viewPod(runtime, uidOf(pod));
    if (this.#gone || pod.metadata?.deletionTimestamp) return await this.#terminate(view);
    this.#pinned ??= new Map((await readPodRecord(this.#podDirectory())).imageVolumes);
    if (isTerminal(pod)) {
      await this.#finish(view);
      if (this.#status) await this.#publish(this.#status);
      return false;
    }
    this.#checkDeadline(pod);
    const waiting = new Map<string, Waiting>();
    if (!this.#failed) view = await this.#advance(pod, view, waiting);
    this.#prober.follow(pod, view);
    if (this.#gone || this.#pod.metadata?.deletionTimestamp) {
      this.wake();
      return false;
    }
    let status = await this.#statusOf(view, waiting);
    if (status.phase === "Succeeded" || status.phase === "Failed") {
      view = await this.#finish(view);
      status = await this.#statusOf(view, waiting);
    }
    await this.#publish(status);
    await this.#collect(view);
    return false;
  }

  /** Does what can be done now; what must wait is noted in `waiting`. */
  async #advance(pod: Pod, before: PodView, waiting: Map<string, Waiting>): Promise<PodView> {
    const kubelet = this.#kubelet;
    let view = before;
    let plan = this.#plan(view);
    if (plan.createSandbox !== undefined || plan.start.length > 0) {
      if (this.#held && kubelet.now() < this.#held.until) return this.#waitForAll(view, waiting);
      const refusal = unsupported(pod);
      if (refusal !== undefined) {
        this.#hold("FailedCreatePodSandBox", refusal);
        return this.#waitForAll(view, waiting);
      }
      try {
        await this.#prepareVolumes(view);
      } catch (error) {
        this.#hold("FailedMount", messageOf(error));
        return this.#waitForAll(view, waiting);
      }
      const config = await this.#sandboxConfig(plan.createSandbox ?? plan.sandbox?.attempt ?? 0);
      this.#requestImages(plan, view, config);
      if (plan.createSandbox !== undefined) {
        try {
          await this.#createSandbox(view, config);
        } catch (error) {
          this.#hold("FailedCreatePodSandBox", `Failed to create pod sandbox: ${runtimeMessage(error)}`);
          return this.#waitForAll(view, waiting);
        }
        view = await viewPod(kubelet.runtime, uidOf(pod));
        plan = this.#plan(view);
      }
      this.#held = undefined;
      let changed = false;
      for (const entry of plan.start) {
        if (this.#stopped || this.#pod.metadata?.deletionTimestamp || this.#gone) break;
        if (await this.#start(entry, plan, view, config, waiting)) changed = true;
      }
      if (changed) {
        view = await viewPod(kubelet.runtime, uidOf(pod));
        // What comes next, the second init container say, need not wait for another look.
        if (this.#plan(view).start.some((entry) => !waiting.has(entry.container.name))) this.wake();
      }
    } else if (kubelet.now() - this.#volumesAt >= kubelet.syncMs) {
      await this.#prepareVolumes(view, true).catch((error: unknown) => {
        kubelet.recorder.event(referenceTo(pod), "Warning", "FailedMount", messageOf(error));
      });
    }
    for (const { container, entry, message } of plan.kill) {
      if (this.#stopping.has(container.id)) continue;
      const podIp = view.sandboxes[0]?.ips[0];
      const stop = stopContainer(kubelet, { pod, container, entry, message, graceSeconds: graceSecondsOf(pod), podIp })
        .catch((error: unknown) => {
          kubelet.log.warn({ container: container.name, error: messageOf(error) }, "container not stopped");
        })
        .finally(() => {
          this.#stopping.delete(container.id);
          this.wake();
        });
      this.#stopping.set(container.id, stop);
    }
    return view;
  }

  #plan(view: PodView): Plan {
    return planPod(this.pod, view, (container) => this.#prober.healthOf(container));
  }

  /** Starts one container, or notes why not yet. True when the runtime was asked to. */
  async #start(
    entry: ContainerEntry,
    plan: Plan,
    view: PodView,
    config: SandboxConfig,
    waiting: Map<string, Waiting>,
  ): Promise<boolean> {
    const kubelet = this.#kubelet;
    const { container } = entry;
    const pod = this.#pod;
    const now = kubelet.now();
    const newest = newestOf(view, container.name);
    const crashKey = `${uidOf(pod)}_${container.name}_${hashOf(container)}`;
    const endedAt = newest?.state === "exited" ? Number(newest.status.finishedAt / 1_000_000n) : undefined;
    if (endedAt !== undefined && newest) {
      const left = kubelet.crashBackoff.remaining(crashKey, now, endedAt);
      if (left > 0) {
        this.#noteCrash(entry, newest, kubelet.crashBackoff.waitOf(crashKey), waiting);
        this.wake(left);
        return false;
      }
    }
    const failure = this.#startFailures.get(container.name);
    if (failure && now < failure.retryAt) {
      waiting.set(container.name, failure);
      this.wake(failure.retryAt - now);
      return false;
    }

    if (failure?.reason === "CreateContainerError") await this.#checkVolumes(entry);
    const image = this.#requestImage(entry, config);
    const troubles: ImageTrouble[] = [];
    let pending = this.#weigh(image, troubles);
    for (const volume of imageVolumesOf(pod, container)) {
      if (this.#pinned?.has(volume.name)) continue;
      if (this.#weigh(await this.#requestVolume(volume.name, config), troubles)) pending = true;
    }
    for (const trouble of troubles) this.#tellTrouble(entry, trouble);
    const last = troubles.at(-1);
    if (last) waiting.set(container.name, last);
    if (last || pending || image.kind !== "ready" || !plan.sandbox || !this.#volumePaths) return false;

    if (newest?.state === "created") await kubelet.runtime.removeContainer({ containerId: newest.id });
    if (newest?.state === "unknown") await kubelet.runtime.stopContainer({ containerId: newest.id, timeout: 2n });
    if (endedAt !== undefined) kubelet.crashBackoff.next(crashKey, now, endedAt);
    this.#startFailures.delete(container.name);
    try {
      await startContainer(kubelet, {
        pod,
        entry,
        attempt: this.#attemptOf(container.name, newest),
        sandbox: plan.sandbox,
        sandboxConfig: config,
        image: image.image,
        imageVolumes: this.#pinned ?? new Map(),
        volumePaths: this.#volumePaths,
        facts: this.#facts(view),
        targetId: container.targetContainerName ? newestOf(view, container.targetContainerName)?.id : undefined,
      });
    } catch (error) {
      if (!(error instanceof StartFailure)) throw error;
      const retryAt = kubelet.now() + kubelet.retryMs;
      const failed = { reason: error.reason, message: error.message, retryAt };
      this.#startFailures.set(container.name, failed);
      waiting.set(container.name, failed);
      this.wake(kubelet.retryMs);
    } finally {
      this.#images.forget(`container:${container.name}`);
    }
    return true;
  }

  #attemptOf(name: string, newest: ContainerView | undefined): number {
    if (newest) return newest.state === "created" ? newest.attempt : newest.attempt + 1;
    // The runtime has forgotten it, as after an orderly stop of the node: the status has not.
    const known = statusOf(this.pod, name);
    return known?.containerID ? known.restartCount + 1 : 0;
  }

  /** An image volume that somebody removed under a Pod comes again by its digest: what the Pod saw, it sees again. */
  async #checkVolumes(entry: ContainerEntry): Promise<void> {
    for (const { name, image } of imageVolumesOf(this.#pod, entry.container)) {
      const pinned = this.#pinned?.get(name);
      if (!pinned) continue;
      const spec = { image: pinned.id, annotations: { [VOLUME_ANNOTATION]: "true" } };
      const { image: found } = await this.#kubelet.runtime.imageStatus({ image: spec, verbose: false });
      if (found) continue;
      this.#pinned?.delete(name);
      if (pinned.imageRef.includes("@")) this.#lost.set(name, pinned.imageRef);
      this.#images.forget(volumeKey(image?.reference ?? "", image?.pullPolicy));
    }
  }

  /** Adds what went wrong to `troubles`; true while there is something to wait for. */
  #weigh(state: ImageState, troubles: ImageTrouble[]): boolean {
    if (state.kind === "failed") troubles.push(state.trouble);
    if (state.kind === "pulling" && state.last) troubles.push(state.last);
    return state.kind === "pulling";
  }

  #tellTrouble(entry: ContainerEntry, trouble: ImageTrouble): void {
    const told = this.#told.get(trouble) ?? new Set();
    if (told.has(entry.container.name)) return;
    this.#told.set(trouble, told.add(entry.container.name));
    const about = referenceTo(this.#pod, entry.fieldPath);
    this.#kubelet.recorder.event(about, "Warning", "Failed", `Error: ${trouble.reason}`);
  }

  #noteCrash(entry: ContainerEntry, newest: ContainerView, waitMs: number, waiting: Map<string, Waiting>): void {
    const { name } = entry.container;
    const where = `pod ${nameOf(this.#pod)}_${namespaceOf(this.#pod)}(${uidOf(this.#pod)})`;
    if (!this.#toldCrash.has(newest.id)) {
      this.#toldCrash.add(newest.id);
      const message = `Back-off restarting failed container ${name} in ${where}`;
      this.#kubelet.recorder.event(referenceTo(this.#pod, entry.fieldPath), "Warning", "BackOff", message);
    }
    const wait = waitMs >= 60_000 ? `${Math.floor(waitMs / 60_000)}m${(waitMs / 1000) % 60}s` : `${waitMs / 1000}s`;
    const message = `back-off ${wait} restarting failed container=${name} ${where.replace("pod ", "pod=")}`;
    waiting.set(name, { reason: "CrashLoopBackOff", message });
  }

  /** Everything that will be needed first begins at once, side by side. */
  #requestImages(plan: Plan, view: PodView, config: SandboxConfig): void {
    for (const volume of specOf(this.#pod).volumes ?? []) {
      if (volume.image && !this.#pinned?.has(volume.name)) void this.#requestVolume(volume.name, config);
    }
    const init = entriesOf(this.#pod).filter((entry) => entry.kind === "init");
    const first = plan.start.length > 0 ? plan.start : init.length > 0 ? init.slice(0, 1) : this.#apps();
    for (const entry of first) {
      const newest = newestOf(view, entry.container.name);
      if (!newest && !this.#startFailures.has(entry.container.name)) this.#requestImage(entry, config);
    }
  }

  #apps(): ContainerEntry[] {
    return entriesOf(this.#pod).filter((entry) => entry.kind === "app");
  }

  #requestImage(entry: ContainerEntry, config: SandboxConfig): ImageState {
    const { image = "", imagePullPolicy, name } = entry.container;
    return this.#images.request(`container:${name}`, {
      ...this.#imageRequest(image, imagePullPolicy, config),
      about: referenceTo(this.#pod, entry.fieldPath),
      isVolume: false,
    });
  }

  async #requestVolume(name: string, config: SandboxConfig): Promise<ImageState> {
    const source = specOf(this.#pod).volumes?.find((volume) => volume.name === name)?.image;
    const lost = this.#lost.get(name);
    const policy = lost !== undefined && source?.pullPolicy === "Always" ? "IfNotPresent" : source?.pullPolicy;
    const request: ImageRequest = {
      ...this.#imageRequest(lost ?? source?.reference ?? "", policy, config),
      about: referenceTo(this.#pod),
      isVolume: true,
    };
    // Two volumes of one reference are one pull, and see one content.
    const state = this.#images.request(volumeKey(request.reference, request.policy), request);
    if (state.kind === "ready" && this.#pinned && !this.#pinned.has(name)) {
      this.#pinned.set(name, { id: state.image.id, imageRef: state.image.imageRef });
      await writePodRecord(this.#podDirectory(), { imageVolumes: this.#pinned });
    }
    return state;
  }

  #imageRequest(reference: string, policy: string | undefined, sandbox: SandboxConfig) {
    return {
      podUid: uidOf(this.#pod),
      reference,
      policy: (policy || defaultPolicy(reference)) as PullPolicy,
      annotations: { ...this.#pod.metadata?.annotations },
      credentials: () => pullCredentials(this.#kubelet, this.#pod, reference),
      sandbox,
    };
  }

  async #prepareVolumes(view: PodView, refresh = false): Promise<void> {
    const { volumes, objects, tokens, now } = this.#kubelet;
    if (this.#volumePaths && !refresh) return;
    this.#volumesAt = now();
    this.#volumePaths = await volumes.prepare({ pod: this.#pod, objects, tokens, facts: this.#facts(view) });
  }

  #facts(view: PodView): DownwardFacts {
    const { hostIps, nodeName, allocatable } = this.#kubelet;
    const podIps = specOf(this.#pod).hostNetwork ? hostIps : (view.sandboxes[0]?.ips ?? []);
    return { podIps, hostIps, nodeName, allocatable };
  }

  async #sandboxConfig(attempt: number): Promise<SandboxConfig> {
    const { cgroups, podLogsDir, dns } = this.#kubelet;
    const pod = this.#pod;
    return sandboxConfig(pod, {
      podLogsDir,
      cgroupParent: cgroups.parentOf(pod),
      dns: dnsOf(pod, await dns()),
      attempt,
      nodeName: this.#kubelet.nodeName,
    });
  }

  async #createSandbox(view: PodView, config: SandboxConfig): Promise<void> {
    const { runtime, recorder } = this.#kubelet;
    if (view.sandboxes.length > 0) {
      const message = "Pod sandbox changed, it will be killed and re-created.";
      recorder.event(referenceTo(this.#pod), "Normal", "SandboxChanged", message);
      await this.#stopContainers(view, graceSecondsOf(this.#pod));
      for (const { id } of view.sandboxes) await runtime.stopPodSandbox({ podSandboxId: id });
    }
    await runtime.runPodSandbox({ config, runtimeHandler: "" });
  }

  /** Notes what keeps the whole Pod from going on; the wait before the next try doubles. */
  #hold(reason: string, message: string): void {
    const { recorder, now, retryMs } = this.#kubelet;
    recorder.event(referenceTo(this.#pod), "Warning", reason, message);
    const waitMs = Math.min(retryMs, (this.#held?.waitMs ?? retryMs / 20) * 2);
    this.#held = { message, waitMs, until: now() + waitMs };
  }

  #waitForAll(view: PodView, waiting: Map<string, Waiting>): PodView {
    const { message, until } = this.#held ?? { until: 0 };
    const initializing = (specOf(this.#pod).initContainers?.length ?? 0) > 0;
    for (const { container, kind } of entriesOf(this.#pod)) {
      if (newestOf(view, container.name)) continue;
      const reason = kind === "app" && initializing ? "PodInitializing" : "ContainerCreating";
      waiting.set(container.name, { reason, message });
    }
    this.wake(Math.max(1, until - this.#kubelet.now()));
    return view;
  }

  #checkDeadline(pod: Pod): void {
    const limit = specOf(pod).activeDeadlineSeconds;
    if (limit === undefined || this.#failed) return;
    const started = Date.parse(this.#startTime());
    const left = started + limit * 1000 - this.#kubelet.now();
    if (left > 0) {
      this.wake(left);
      return;
    }
    const message = "Pod was active on the node longer than the specified deadline";
    this.#failed = { reason: "DeadlineExceeded", message };
    this.#kubelet.recorder.event(referenceTo(pod), "Normal", "DeadlineExceeded", message);
  }

  #startTime(): string {
    const known = (this.#status ?? this.#pod.status)?.startTime;
    return known ?? seconds(this.#kubelet.now());
  }

  async #statusOf(view: PodView, waiting: ReadonlyMap<string, Waiting>): Promise<PodStatus> {
    for (const container of view.containers) {
      if (container.state !== "exited" || this.#messages.has(container.id)) continue;
      this.#messages.set(container.id, await terminationMessage(container));
    }
    const pod = this.pod;
    return podStatus({
      pod,
      view,
      waiting,
      startedAndReady: (container) => this.#prober.startedAndReady(container),
      terminationMessage: ({ id }) => this.#messages.get(id) ?? "",
      imageVolumes: this.#pinned ?? new Map(),
      runtimeName: this.#kubelet.runtimeName,
      hostIps: this.#kubelet.hostIps,
      startTime: this.#startTime(),
      failed: this.#failed,
      now: this.#kubelet.now(),
    });
  }

  async #publish(status: PodStatus): Promise<void> {
    const text = JSON.stringify(status);
    const before = this.pod;
    this.#status = status;
    if (text === this.#sent) return;
    const at = { namespace: namespaceOf(this.#pod), name: nameOf(this.#pod), subresource: "status" };
    try {
      await this.#kubelet.client.patch(kubePath("v1", "pods", at), statusPatch(before, status), "strategic");
      this.#sent = text;
    } catch (error) {
      // Deleted, or another Pod of the same name: the watch tells.
      if (!isFailure(error, "NotFound", "Conflict")) throw error;
    }
  }

  /** Stops what runs of a Pod whose phase is final, and its sandbox; what is needed for logs stays. */
  async #finish(view: PodView): Promise<PodView> {
    const { runtime } = this.#kubelet;
    const busy = view.containers.some(({ state }) => state === "running") || view.sandboxes.some(({ ready }) => ready);
    if (!busy) return view;
    await this.#stopContainers(view, graceSecondsOf(this.#pod));
    for (const { id, ready } of view.sandboxes) if (ready) await runtime.stopPodSandbox({ podSandboxId: id });
    return await viewPod(runtime, uidOf(this.#pod));
  }

  /** All but sidecars at once, then the sidecars, the last first. */
  async #stopContainers(view: PodView, graceSeconds: number): Promise<void> {
    const entries = new Map(entriesOf(this.#pod).map((entry) => [entry.container.name, entry]));
    const running = view.containers.filter(({ state }) => state === "running" || state === "unknown");
    const started = performance.now();
    this.#terminating = new Set(running.map(({ id }) => id));
    const stop = async (container: ContainerView): Promise<void> => {
      const spent = Math.floor((performance.now() - started) / 1000);
      await stopContainer(this.#kubelet, {
        pod: this.#pod,
        container,
        entry: entries.get(container.name),
        message: `Stopping container ${container.name}`,
        graceSeconds: Math.max(0, graceSeconds - spent),
        podIp: view.sandboxes[0]?.ips[0],
      });
    };
    const order = [...entries.values()].filter((entry) => entry.kind === "init" && isSidecar(entry.container));
    const sidecars = new Set(order.map((entry) => entry.container.name));
    await Promise.all(running.filter(({ name }) => !sidecars.has(name)).map(stop));
    for (const { container } of order.reverse()) {
      for (const view of running.filter(({ name }) => name === container.name)) await stop(view);
    }
    this.#terminating = new Set();
  }

  /** Somebody wants a shorter end than the one under way. */
  #hurry(graceSeconds: number): void {
    for (const containerId of this.#terminating) {
      void this.#kubelet.runtime
        .stopContainer({ containerId, timeout: BigInt(Math.max(1, graceSeconds)) })
        .catch(() => undefined);
    }
  }

  async #terminate(before: PodView): Promise<boolean> {
    const pod = this.#pod;
    this.#prober.stop();
    await this.#images.stop();
    const grace = this.#gone ? Math.min(1, graceSecondsOf(pod)) : graceSecondsOf(pod);
    await this.#stopContainers(before, grace);
    const view = await viewPod(this.#kubelet.runtime, uidOf(pod));
    for (const { id, ready } of view.sandboxes)
      if (ready) await this.#kubelet.runtime.stopPodSandbox({ podSandboxId: id });
    const after = await viewPod(this.#kubelet.runtime, uidOf(pod));
    if (!this.#gone) await this.#publish(await this.#statusOf(after, new Map()));
    await this.#removeFromRuntime(after);
    await this.#clean();
    await rm(podLogsDirectory(this.#kubelet.podLogsDir, pod), { recursive: true, force: true });
    const { imageBackoff, crashBackoff, tokens } = this.#kubelet;
    imageBackoff.forget(`${uidOf(pod)}_`);
    crashBackoff.forget(`${uidOf(pod)}_`);
    tokens.forget(uidOf(pod));
    if (this.#gone) return true;
    const path = kubePath("v1", "pods", { namespace: namespaceOf(pod), name: nameOf(pod) });
    const options = {
      apiVersion: "v1",
      kind: "DeleteOptions",
      gracePeriodSeconds: 0,
      preconditions: { uid: uidOf(pod) },
    };
    try {
      await this.#kubelet.client.delete(path, options);
    } catch (error) {
      if (!isFailure(error, "NotFound", "Conflict")) throw error;
    }
    return true;
  }

  async #removeFromRuntime(view: PodView): Promise<void> {
    const { runtime } = this.#kubelet;
    for (const { id } of view.containers) await runtime.removeContainer({ containerId: id });
    for (const { id, ready } of view.sandboxes) {
      if (ready) await runtime.stopPodSandbox({ podSandboxId: id });
      await runtime.removePodSandbox({ podSandboxId: id });
    }
  }

  async #clean(): Promise<void> {
    await this.#kubelet.volumes.teardown(uidOf(this.#pod));
    await this.#kubelet.cgroups.remove(uidOf(this.#pod));
  }

  /** Keeps the newest container of each name and the one before it, for `logs --previous`; older ones and empty sandboxes go. */
  async #collect(view: PodView): Promise<void> {
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

  #podDirectory(): string {
    return this.#kubelet.volumes.podDirectory(uidOf(this.#pod));
  }
}
