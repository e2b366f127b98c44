import { statSync } from "node:fs";
import { Failure, isFailure, messageOf, type Log } from "#base";
import type { Engine, StoredObject } from "#engine";
import { isDigest } from "#oci";
import type { cri, ProxyHandlers } from "#wire";
import { credentialsOf } from "./credentials.ts";
import { pullFailure } from "./errors.ts";
import { RunningPulls } from "./running-pulls.ts";

/**
 * On an ImageSpec: this is about a volume. Our kubelet sends it; a stock one sends nothing that tells a volume's pull from a
 * container's, so without it an image is containerd's and only an artifact is ours.
 */
const VOLUME = "orlop.dev/volume";

const isVolume = (spec: cri.ImageSpec | undefined): boolean => spec?.annotations[VOLUME] === "true";

/** In the info of a verbose ImageStatus: how far the pull of it that runs now is. Our kubelet asks for it. */
const PROGRESS = "orlop.dev/progress";

export interface ImageHandlerOptions {
  readonly engine: Engine;
  readonly log: Log;
  /** Aborts when the endpoint ends: pulls that go on in the background end with it. */
  readonly ending: AbortSignal;
}

export function imageHandlers({ engine, log, ending }: ImageHandlerOptions): ProxyHandlers<typeof cri.ImageService> {
  const running = new RunningPulls();

  /** What we answer for: any object by its manifest digest, artifacts by name, and images where a volume asks. */
  const ours = async (spec: cri.ImageSpec | undefined): Promise<StoredObject | undefined> => {
    const name = spec?.image ?? "";
    if (name === "") return undefined;
    const found = await engine.find(name).catch((error: unknown) => {
      // What is no reference to us may be a name to containerd.
      if (isFailure(error) && error.code === "INVALID_ARGUMENT") return undefined;
      throw error;
    });
    if (found) return isDigest(name) || isVolume(spec) || !found.isImage ? found : undefined;
    return await byShortId(name);
  };

  /** People type the beginning of an id, with or without `sha256:`. One that could mean two is none. */
  const byShortId = async (name: string): Promise<StoredObject | undefined> => {
    const hex = /^(?:sha256:)?([0-9a-f]{7,63})$/.exec(name)?.[1];
    if (hex === undefined) return undefined;
    const fitting = (await engine.list()).filter(({ digest }) => digest.startsWith(`sha256:${hex}`));
    return fitting.length === 1 ? fitting[0] : undefined;
  };

  /** containerd disregards the filter; so the object of ours that it names is the whole answer. */
  const list = async <Response extends { readonly images: cri.Image[] }>(
    filter: cri.ImageFilter | undefined,
    theirs: () => Promise<Response>,
  ): Promise<Response | { images: cri.Image[] }> => {
    const found = await ours(filter?.image);
    if (found) return { images: [imageOf(found)] };
    const response = await theirs();
    if (!filter?.image?.image) response.images.push(...(await engine.list()).map(imageOf));
    return response;
  };

  return {
    async pullImage(request, call) {
      const reference = request.image?.image ?? "";
      const credentials = credentialsOf(request.auth);
      const pull = { reference, ...(credentials.length > 0 ? { credentials } : {}) };
      try {
        if (!isVolume(request.image) && (await isContainers(engine, pull, call.signal, log))) {
          const response = await call.forward(request);
          await forgetArtifact(engine, reference);
          return response;
        }
        // Not ended by the caller's deadline: what is fetched is there when it asks again.
        using progress = running.start(reference);
        const { digest } = await engine.pull(pull, { signal: ending, onProgress: progress.note });
        return { imageRef: digest };
      } catch (error) {
        throw pullFailure(error);
      }
    },

    async imageStatus(request, call) {
      const found = await ours(request.image);
      const progress = request.verbose ? running.of(request.image?.image ?? "") : undefined;
      const info: Record<string, string> = progress ? { [PROGRESS]: JSON.stringify(progress) } : {};
      if (found) return { image: imageOf(found), info: request.verbose ? { ...infoOf(found), ...info } : {} };
      if (progress) return { info };
      return isVolume(request.image) ? {} : await call.forward(request);
    },

    listImages: (request, call) => list(request.filter, () => call.forward(request)),
    streamImages: (request, call) => list(request.filter, () => call.forward(request)),

    async removeImage(request, call) {
      const found = await ours(request.image);
      if (!found) return await call.forward(request);
      try {
        await engine.remove(found.digest);
      } catch (error) {
        if (!isFailure(error, "IN_USE")) throw error;
        throw await inUse(engine, found, error);
      }
      return {};
    },

    async imageFsInfo(request, call) {
      const response = await call.forward(request);
      const { bytes, inodes, path } = await engine.usage();
      const device = statSync(path).dev;
      // A kubelet reads the first filesystem only: ours counts there if it is the same one.
      const same = response.imageFilesystems.find(({ fsId }) => fsId && deviceOf(fsId.mountpoint) === device);
      if (same) {
        same.usedBytes = uint64((same.usedBytes?.value ?? 0n) + BigInt(bytes));
        same.inodesUsed = uint64((same.inodesUsed?.value ?? 0n) + BigInt(inodes));
      } else
        response.imageFilesystems.push({
          $typeName: "runtime.v1.FilesystemUsage",
          timestamp: BigInt(Date.now()) * 1_000_000n,
          fsId: { $typeName: "runtime.v1.FilesystemIdentifier", mountpoint: path },
          usedBytes: uint64(BigInt(bytes)),
          inodesUsed: uint64(BigInt(inodes)),
        });
      return response;
    },
  };
}

const uint64 = (value: bigint): cri.UInt64Value => ({ $typeName: "runtime.v1.UInt64Value", value });

/** Images are containerd's. What we cannot even resolve is too: its words are those that people know. */
async function isContainers(
  engine: Engine,
  pull: Parameters<Engine["classify"]>[0],
  signal: AbortSignal,
  log: Log,
): Promise<boolean> {
  try {
    return (await engine.classify(pull, { signal })).isImage;
  } catch (error) {
    signal.throwIfAborted();
    log.debug(
      { reference: pull.reference, error: messageOf(error) },
      "cannot tell images from artifacts: asking containerd",
    );
    return true;
  }
}

/** A tag that once named an artifact and names an image now shall not be answered from what it was. */
async function forgetArtifact(engine: Engine, reference: string): Promise<void> {
  const found = await engine.find(reference);
  if (!found || found.isImage) return;
  await engine.remove(reference).catch((error: unknown) => {
    if (!isFailure(error, "IN_USE")) throw error;
  });
}

async function inUse(engine: Engine, object: StoredObject, cause: Failure): Promise<Failure> {
  const owners = (await engine.volumes()).filter(({ digest }) => digest === object.digest).map(({ owner }) => owner);
  const names = [...new Set(owners)].join(", ");
  return new Failure(
    "FAILED_PRECONDITION",
    "IN_USE",
    names === ""
      ? cause.message
      : `image ${object.digest} is in use by the volumes of sandbox ${names}: remove it first`,
    { cause },
  );
}

function imageOf(object: StoredObject): cri.Image {
  return {
    $typeName: "runtime.v1.Image",
    id: object.digest,
    repoTags: object.references.filter((name) => !name.includes("@")),
    repoDigests: [...object.repoDigests],
    // A kubelet takes an image without a size for a broken one.
    size: BigInt(Math.max(1, object.size)),
    username: "",
    pinned: false,
  };
}

function infoOf({ mediaType, artifactType, packaging, resolved }: StoredObject): Record<string, string> {
  return { info: JSON.stringify({ mediaType, artifactType, packaging, resolved }) };
}

function deviceOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.dev;
}
