import { Failure, isFailure, type CallOptions } from "#base";
import type { Engine, StoredObject } from "#engine";
import { formatReference, isDigest, parseReference, pin } from "#oci";
import type { cri, CriClient } from "#wire";
import type { ContainerdContent } from "./containerd-content.ts";

/** Finds, or fetches, the object that a mount's ImageSpec means. */
export class ImageFinder {
  readonly #engine: Engine;
  readonly #containerd: CriClient;
  readonly #content: ContainerdContent;

  constructor(engine: Engine, containerd: CriClient, content: ContainerdContent) {
    this.#engine = engine;
    this.#containerd = containerd;
    this.#content = content;
  }

  /**
   * The kubelet sends the id that PullImage or ImageStatus gave it: ours is a manifest's digest. containerd's is a config's
   * digest; then the object is the image that containerd has under it, whose layers are taken from there.
   *
   * @throws Failure as the engine's pull, and NOT_FOUND for an id that nobody knows.
   */
  async find(spec: cri.ImageSpec, call: CallOptions = {}): Promise<StoredObject> {
    const { image } = spec;
    const here = await this.#engine.find(image);
    if (here) return here;
    if (!isDigest(image)) return await this.#engine.pull({ reference: image }, call);
    for (const reference of await this.#namesOf(spec, call)) {
      const known = await this.#engine.find(reference);
      if (known) return known;
      return await this.#engine.pull({ reference, preferred: this.#content }, call);
    }
    const name = spec.userSpecifiedImage;
    throw new Failure(
      "NOT_FOUND",
      "IMAGE_NOT_FOUND",
      `image ${image}${name === "" ? "" : ` (${name})`} is neither in Orlop's store nor in containerd: pull it again`,
    );
  }

  /** `repository@digest` of a containerd image, those of the repository that the Pod names first. */
  async #namesOf({ image, userSpecifiedImage }: cri.ImageSpec, call: CallOptions): Promise<readonly string[]> {
    const asked = userSpecifiedImage === "" ? undefined : parseReference(userSpecifiedImage);
    const { image: found } = await this.#containerd.imageStatus({ image: { image } }, call);
    const names = found?.repoDigests ?? [];
    if (names.length > 0) {
      const wanted = asked && `${asked.registry}/${asked.repository}@`;
      return names.toSorted((a, b) => Number(b.startsWith(wanted ?? a)) - Number(a.startsWith(wanted ?? b)));
    }
    // Imported rather than pulled: it has no name with a digest, but its manifest is there.
    const tag = found?.repoTags[0];
    const named = asked ?? (tag === undefined ? undefined : parseReference(tag));
    if (!found || !named || !isDigest(image)) return [];
    return (await this.#content.manifestsOf(image, call)).map((digest) => formatReference(pin(named, digest)));
  }
}

/** True for what says that an object is not there, whoever says it. */
export function isMissing(error: unknown): boolean {
  return isFailure(error) && error.code === "NOT_FOUND";
}
