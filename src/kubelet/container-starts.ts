import type { Pod } from "#k8s";
import { hashOf } from "./container-config.ts";
import type { Kubelet } from "./context.ts";
import type { SandboxConfig } from "./cri.ts";
import type { DownwardFacts } from "./downward.ts";
import { referenceTo } from "./events.ts";
import { goDuration } from "./go-duration.ts";
import { type ContainerEntry, describePod, statusOf, uidOf } from "./pod.ts";
import type { PodContent } from "./pod-content.ts";
import type { ImageTrouble } from "./pod-images.ts";
import { type ContainerView, newestOf, type PodView, type SandboxView } from "./pod-view.ts";
import { StartFailure, startContainer } from "./start-container.ts";
import type { Waiting } from "./status.ts";

/** What is there when a container starts. */
export interface StartSurroundings {
  readonly view: PodView;
  readonly sandbox: SandboxView;
  readonly config: SandboxConfig;
  readonly volumePaths: ReadonlyMap<string, string>;
  readonly facts: DownwardFacts;
}

/** Starts the containers of one Pod when they may start: back-offs over, image and volumes here. */
export class ContainerStarts {
  readonly #kubelet: Kubelet;
  readonly #pod: () => Pod;
  readonly #content: PodContent;
  readonly #wake: (delayMs: number) => void;
  readonly #startFailures = new Map<string, Waiting & { readonly retryAt: number }>();
  readonly #told = new WeakMap<ImageTrouble, Set<string>>();
  readonly #toldCrash = new Set<string>();

  constructor(kubelet: Kubelet, pod: () => Pod, content: PodContent, wake: (delayMs: number) => void) {
    this.#kubelet = kubelet;
    this.#pod = pod;
    this.#content = content;
    this.#wake = wake;
  }

  /** True while a container waits because its last start failed. */
  hasFailed(name: string): boolean {
    return this.#startFailures.has(name);
  }

  /** Starts one container, or notes in `waiting` why not yet. True when the runtime was asked to. */
  async start(entry: ContainerEntry, around: StartSurroundings, waiting: Map<string, Waiting>): Promise<boolean> {
    const { view, config } = around;
    const { runtime, crashBackoff, now, retryMs } = this.#kubelet;
    const { container } = entry;
    const { name } = container;
    const newest = newestOf(view, name);
    if (newest && this.#crashed(entry, newest, waiting)) return false;
    const failure = this.#startFailures.get(name);
    if (failure && now() < failure.retryAt) {
      waiting.set(name, failure);
      this.#wake(failure.retryAt - now());
      return false;
    }

    if (failure?.reason === "CreateContainerError") await this.#content.check(entry);
    const content = await this.#content.of(entry, config);
    if (content.kind === "waiting") {
      for (const trouble of content.troubles) this.#tell(entry, trouble);
      // While its image is looked for, what it waited for before is still true.
      const before = statusOf(this.#pod(), name)?.state?.waiting;
      const { reason, message } = content.troubles.at(-1) ?? before ?? {};
      if (reason) waiting.set(name, { reason, message });
      return false;
    }
    if (newest?.state === "created") await runtime.removeContainer({ containerId: newest.id });
    if (newest?.state === "unknown") await runtime.stopContainer({ containerId: newest.id, timeout: 2n });
    if (newest?.state === "exited") crashBackoff.next(this.#crashKey(entry), now(), endOf(newest));
    this.#startFailures.delete(name);
    try {
      await startContainer(this.#kubelet, {
        pod: this.#pod(),
        entry,
        attempt: this.#attemptOf(name, newest),
        sandbox: around.sandbox,
        sandboxConfig: config,
        image: content.image,
        imageVolumes: this.#content.volumes,
        volumePaths: around.volumePaths,
        facts: around.facts,
        targetId: container.targetContainerName ? newestOf(view, container.targetContainerName)?.id : undefined,
      });
    } catch (error) {
      if (!(error instanceof StartFailure)) throw error;
      const failed = { reason: error.reason, message: error.message, retryAt: now() + retryMs };
      this.#startFailures.set(name, failed);
      waiting.set(name, failed);
      this.#wake(retryMs);
    } finally {
      this.#content.forget(entry);
    }
    return true;
  }

  #attemptOf(name: string, newest: ContainerView | undefined): number {
    if (newest) return newest.state === "created" ? newest.attempt : newest.attempt + 1;
    // The runtime has forgotten it, as after an orderly stop of the node: the status has not, and may have counted it already.
    const known = statusOf(this.#pod(), name);
    return known?.containerID ? known.restartCount + 1 : (known?.restartCount ?? 0);
  }

  #crashKey({ container }: ContainerEntry): string {
    return `${uidOf(this.#pod())}_${container.name}_${hashOf(container)}`;
  }

  /** True while a container that ended must wait before it runs again. */
  #crashed(entry: ContainerEntry, newest: ContainerView, waiting: Map<string, Waiting>): boolean {
    const { crashBackoff, recorder, now } = this.#kubelet;
    if (newest.state !== "exited") return false;
    const left = crashBackoff.remaining(this.#crashKey(entry), now(), endOf(newest));
    if (left <= 0) return false;
    this.#wake(left);
    const { name } = entry.container;
    const where = describePod(this.#pod());
    if (!this.#toldCrash.has(newest.id)) {
      this.#toldCrash.add(newest.id);
      const message = `Back-off restarting failed container ${name} in pod ${where}`;
      recorder.event(referenceTo(this.#pod(), entry.fieldPath), "Warning", "BackOff", message);
    }
    const wait = goDuration(crashBackoff.waitOf(this.#crashKey(entry)));
    const message = `back-off ${wait} restarting failed container=${name} pod=${where}`;
    waiting.set(name, { reason: "CrashLoopBackOff", message });
    return true;
  }

  /** Each trouble is told once to each container that it stops. */
  #tell(entry: ContainerEntry, trouble: ImageTrouble): void {
    const told = this.#told.get(trouble) ?? new Set();
    if (told.has(entry.container.name)) return;
    this.#told.set(trouble, told.add(entry.container.name));
    const about = referenceTo(this.#pod(), entry.fieldPath);
    this.#kubelet.recorder.event(about, "Warning", "Failed", `Error: ${trouble.reason}`);
  }
}

/** When a container ended, in milliseconds since the epoch. */
const endOf = ({ status }: ContainerView): number => Number(status.finishedAt / 1_000_000n);
