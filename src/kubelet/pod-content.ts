import { messageOf } from "#base";
import type { Pod } from "#k8s";
import { imageVolumesOf, type PinnedImage } from "./container-config.ts";
import type { Kubelet } from "./context.ts";
import type { SandboxConfig } from "./cri.ts";
import { referenceTo } from "./events.ts";
import { type ReadyImage, VOLUME_ANNOTATION } from "./image-puller.ts";
import { defaultPolicy, type PullPolicy } from "./pull-policy.ts";
import { type ImageState, type ImageTrouble, PodImages } from "./pod-images.ts";
import { type ContainerEntry, specOf, uidOf } from "./pod.ts";
import { readPodRecord, writePodRecord } from "./pod-record.ts";
import { pullCredentials } from "./pull-secrets.ts";

/** What one container needs before it can start: all of it, or what it waits for. */
export type ContainerContent =
  | { readonly kind: "ready"; readonly image: ReadyImage }
  | { readonly kind: "waiting"; readonly troubles: readonly ImageTrouble[] };

/**
 * The images and image volumes of one Pod. A volume stands for one content for the Pod's whole life, over restarts of containers
 * and kubelet, whatever its tag means by then.
 */
export class PodContent {
  readonly #kubelet: Kubelet;
  readonly #pod: () => Pod;
  readonly #images: PodImages;
  #pinned: Map<string, PinnedImage> | undefined;
  #saved: Promise<void> = Promise.resolve();
  /** Volumes whose image is not here any more, and what to pull instead of their reference. */
  readonly #lost = new Map<string, string>();

  constructor(kubelet: Kubelet, pod: () => Pod, wake: (delayMs: number) => void) {
    this.#kubelet = kubelet;
    this.#pod = pod;
    this.#images = new PodImages(kubelet.puller, kubelet.recorder, kubelet.now, wake);
  }

  /** Remembers what the kubelet before this one noted. To be called before all else; only the first call does something. */
  async load(): Promise<void> {
    this.#pinned ??= new Map((await readPodRecord(this.#directory())).imageVolumes);
  }

  /** What each volume stands for, by its name. */
  get volumes(): ReadonlyMap<string, PinnedImage> {
    return this.#pinned ?? new Map();
  }

  /** Begins to fetch everything that these containers and all volumes need, side by side, and waits for nothing. */
  begin(entries: readonly ContainerEntry[], config: SandboxConfig): void {
    for (const { name, image } of specOf(this.#pod()).volumes ?? [])
      if (image && !this.volumes.has(name)) {
        this.#volume(name, config).catch((error: unknown) => {
          this.#kubelet.log.warn({ volume: name, error: messageOf(error) }, "image volume not noted");
        });
      }
    for (const entry of entries) this.#image(entry, config);
  }

  /** How far a container's image and volumes are. */
  async of(entry: ContainerEntry, config: SandboxConfig): Promise<ContainerContent> {
    const image = this.#image(entry, config);
    const states = [image];
    for (const { name } of imageVolumesOf(this.#pod(), entry.container))
      if (!this.volumes.has(name)) states.push(await this.#volume(name, config));
    if (image.kind === "ready" && states.every(({ kind }) => kind === "ready"))
      return { kind: "ready", image: image.image };
    // While it is tried again, the status goes on to tell what went wrong before.
    const troubles = states
      .map((state) => (state.kind === "failed" ? state.trouble : state.kind === "pulling" ? state.last : undefined))
      .filter((trouble) => trouble !== undefined);
    return { kind: "waiting", troubles };
  }

  /** The next start of the container asks for its image anew. */
  forget(entry: ContainerEntry): void {
    this.#images.forget(`container:${entry.container.name}`);
  }

  /** A volume whose image somebody removed under the Pod will come again by its digest: what the Pod saw, it sees again. */
  async check(entry: ContainerEntry): Promise<void> {
    for (const { name, image } of imageVolumesOf(this.#pod(), entry.container)) {
      const pinned = this.volumes.get(name);
      if (!pinned) continue;
      const spec = { image: pinned.id, annotations: { [VOLUME_ANNOTATION]: "true" } };
      const { image: found } = await this.#kubelet.runtime.imageStatus({ image: spec, verbose: false });
      if (found) continue;
      this.#pinned?.delete(name);
      if (pinned.imageRef.includes("@")) this.#lost.set(name, pinned.imageRef);
      this.#images.forget(volumeKey(image?.reference ?? "", image?.pullPolicy));
    }
  }

  /** Ends all pulls. */
  stop(): Promise<void> {
    return this.#images.stop();
  }

  #image(entry: ContainerEntry, config: SandboxConfig): ImageState {
    const { image = "", imagePullPolicy, name } = entry.container;
    return this.#images.request(`container:${name}`, {
      ...this.#request(image, imagePullPolicy, config),
      about: referenceTo(this.#pod(), entry.fieldPath),
      isVolume: false,
    });
  }

  async #volume(name: string, config: SandboxConfig): Promise<ImageState> {
    const source = specOf(this.#pod()).volumes?.find((volume) => volume.name === name)?.image;
    const lost = this.#lost.get(name);
    const policy = lost !== undefined && source?.pullPolicy === "Always" ? "IfNotPresent" : source?.pullPolicy;
    const request = this.#request(lost ?? source?.reference ?? "", policy, config);
    // Two volumes of one reference are one pull, and see one content.
    const key = volumeKey(request.reference, request.policy);
    const state = this.#images.request(key, { ...request, about: referenceTo(this.#pod()), isVolume: true });
    if (state.kind === "ready" && this.#pinned && !this.#pinned.has(name)) {
      this.#pinned.set(name, { id: state.image.id, imageRef: state.image.imageRef });
      await this.#save(this.#pinned);
    }
    return state;
  }

  /** One write at a time: several volumes may become ready at once. */
  #save(imageVolumes: ReadonlyMap<string, PinnedImage>): Promise<void> {
    const saved = this.#saved.then(() => writePodRecord(this.#directory(), { imageVolumes }));
    this.#saved = saved.catch(() => undefined);
    return saved;
  }

  #request(reference: string, policy: string | undefined, sandbox: SandboxConfig) {
    const pod = this.#pod();
    return {
      podUid: uidOf(pod),
      reference,
      policy: (policy || defaultPolicy(reference)) as PullPolicy,
      annotations: { ...pod.metadata?.annotations },
      credentials: () => pullCredentials(this.#kubelet, pod, reference),
      sandbox,
    };
  }

  #directory(): string {
    return this.#kubelet.volumes.podDirectory(uidOf(this.#pod()));
  }
}

const volumeKey = (reference: string, policy: string | undefined): string =>
  `volume:${policy || defaultPolicy(reference)}:${reference}`;
