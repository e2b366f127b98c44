import { Failure, messageOf } from "#base";
import type { ObjectReference } from "#k8s";
import { parseReference } from "#oci";
import type { Backoff } from "./backoff.ts";
import type { Runtime, SandboxConfig } from "./cri.ts";
import type { EventRecorder } from "./events.ts";
import { goDuration } from "./go-duration.ts";
import { runtimeMessage } from "./grpc-text.ts";
import type { Metrics } from "./metrics.ts";
import type { PullLimits } from "./pull-limits.ts";
import type { PullCredential, PullRecords } from "./pull-records.ts";
import { type PullPolicy, withDefaultTag } from "./pull-policy.ts";
import { countPull, forgetPull, sizeClass } from "./pull-metrics.ts";
import { askProgress, bytesPerSecond, describeProgress, type PullProgress } from "./pull-progress.ts";
import type { ImageUser } from "./security.ts";

/** What a volume pull carries, so that a runtime which knows volumes keeps the object for them only. */
export const VOLUME_ANNOTATION = "orlop.dev/volume";

export interface ImageRequest {
  /** What Events are about: a Pod, or one of its containers. */
  readonly about: ObjectReference;
  readonly podUid: string;
  /** As written. */
  readonly reference: string;
  readonly policy: PullPolicy;
  readonly isVolume: boolean;
  readonly annotations: Readonly<Record<string, string>>;
  /** Read when a pull begins. Tried in turn; none means anonymous. */
  readonly credentials: () => Promise<readonly PullCredential[]>;
  readonly sandbox: SandboxConfig | undefined;
}

export interface ReadyImage {
  readonly id: string;
  /** `repository@digest` where the runtime says so, else the id. */
  readonly imageRef: string;
  readonly user: ImageUser;
}

/** Why an image is not here: the reason and message of a container that waits for it. */
export class ImageFailure extends Failure {
  /** Milliseconds to wait before the next try. */
  readonly waitMs: number;
  /** A pull was tried: until the next one, the status says that it backs off. */
  readonly backsOff: boolean;

  constructor(reason: string, message: string, waitMs: number, backsOff: boolean) {
    super("UNAVAILABLE", reason, message);
    this.waitMs = waitMs;
    this.backsOff = backsOff;
  }
}

export interface ImagePuller {
  /** Makes the image present as its policy says, and tells about it in Events. @throws ImageFailure */
  ensure(request: ImageRequest, signal: AbortSignal): Promise<ReadyImage>;
}

export interface ImagePullerOptions {
  readonly runtime: Runtime;
  readonly recorder: EventRecorder;
  readonly backoff: Backoff;
  readonly limits: PullLimits;
  readonly records: PullRecords;
  readonly metrics: Metrics;
  readonly now: () => number;
  /** Between two tries of what no back-off delays, in milliseconds. */
  readonly retryMs: number;
  /** Between two looks at how far a pull is, in milliseconds. */
  readonly progressMs: number;
}

/** The key that back-offs have: one Pod and one reference as written. */
export const backoffKey = (podUid: string, reference: string): string => `${podUid}_${reference}`;

export function createImagePuller(options: ImagePullerOptions): ImagePuller {
  const { runtime, recorder, backoff, limits, records, metrics, now, retryMs } = options;

  const statusOf = async (request: ImageRequest, image: string) => {
    const { image: found } = await runtime.imageStatus({ image: specOf(request, image), verbose: false });
    return found;
  };

  const pull = async (request: ImageRequest, image: string, signal: AbortSignal): Promise<string> => {
    limits.spend();
    const credentials = await request.credentials();
    const failures: string[] = [];
    let last: unknown;
    await records.begin(image);
    for (const credential of credentials.length > 0 ? credentials : [undefined]) {
      try {
        const { imageRef } = await runtime.pullImage(
          {
            image: specOf(request, image),
            ...(credential ? { auth: credential.auth } : {}),
            ...(request.sandbox ? { sandboxConfig: request.sandbox } : {}),
          },
          { signal },
        );
        if (imageRef === "")
          throw new Failure("INTERNAL", "NO_IMAGE_REF", `imageRef of image ${JSON.stringify(image)} is not set`);
        await records.end(imageRef, image, credential);
        return imageRef;
      } catch (error) {
        signal.throwIfAborted();
        failures.push(runtimeMessage(error));
        last = error;
      }
    }
    await records.fail(image);
    if (failures.length === 1) throw last;
    throw new Failure("UNKNOWN", "PULL_FAILED", `[${[...new Set(failures)].join(", ")}]`);
  };

  const warn = (request: ImageRequest, reason: string, message: string): void => {
    recorder.event(request.about, "Warning", reason, message);
  };

  /** Until disposed, rewrites the Event of a pull every few seconds to say how far it is. */
  const tellProgress = (request: ImageRequest, image: string, message: string): Disposable => {
    let before: PullProgress | undefined;
    let at = now();
    let over = false;
    const look = async (): Promise<void> => {
      const progress = await askProgress(runtime, specOf(request, image));
      if (!progress || over) return;
      const text = `${message}: ${describeProgress(progress, before, now() - at)}`;
      recorder.amend(request.about, "Normal", "Pulling", message, text);
      countPull(metrics, request.reference, progress, bytesPerSecond(progress, before, now() - at));
      before = progress;
      at = now();
    };
    const timer = setInterval(() => void look(), options.progressMs);
    return {
      [Symbol.dispose]() {
        over = true;
        clearInterval(timer);
        // What it was at some moment is of no use once another Event tells the end.
        if (before) recorder.amend(request.about, "Normal", "Pulling", message, message);
        forgetPull(metrics, request.reference, before);
      },
    };
  };

  /** The image where it is here and this Pod may use it; undefined where it must be pulled. @throws ImageFailure */
  const findPresent = async (
    request: ImageRequest,
    image: string,
    signal: AbortSignal,
  ): Promise<ReadyImage | undefined> => {
    const { reference, policy } = request;
    const quoted = JSON.stringify(reference);
    let found;
    try {
      found = await statusOf(request, image);
      if (found && (found.id === "" || found.size === 0n))
        throw new Failure("INTERNAL", "BAD_IMAGE", `Id or size of image ${JSON.stringify(image)} is not set`);
    } catch (error) {
      signal.throwIfAborted();
      const message = `Failed to inspect image ${quoted}: ${runtimeMessage(error)}`;
      warn(request, "InspectFailed", message);
      throw new ImageFailure("ImageInspectError", message, retryMs, false);
    }
    const check = found && (await records.check(found.id, image, request.credentials));
    if (check !== undefined) metrics.checked.inc({ result: check });
    const usable = check !== undefined && check !== "mustAuthenticate";
    metrics.ensured.inc({
      pull_policy: policy.toLowerCase(),
      present_locally: String(found !== undefined),
      pull_required: String(!usable && policy !== "Never"),
    });
    if (found && usable) {
      const message = `Container image ${quoted} already present on machine and can be accessed by the pod`;
      recorder.event(request.about, "Normal", "Pulled", message);
      return readyOf(found.id, found, image);
    }
    if (policy === "Never") {
      const message = `Container image ${quoted} is not present with pull policy of Never`;
      warn(request, "ErrImageNeverPull", message);
      throw new ImageFailure("ErrImageNeverPull", message, retryMs, false);
    }
    return undefined;
  };

  const pullAnew = async (request: ImageRequest, image: string, signal: AbortSignal): Promise<ReadyImage> => {
    const { reference } = request;
    const quoted = JSON.stringify(reference);
    const asked = now();
    const release = await limits.acquire(signal);
    try {
      const pulling = `Pulling image ${quoted}`;
      recorder.event(request.about, "Normal", "Pulling", pulling);
      using _telling = tellProgress(request, image, pulling);
      const started = now();
      metrics.pulling.inc();
      const id = await pull(request, image, signal).finally(() => metrics.pulling.dec());
      const took = goDuration(now() - started);
      const waited = goDuration(now() - asked);
      const found = await statusOf(request, id).catch(() => undefined);
      metrics.pullSeconds.observe({ image_size_in_bytes: sizeClass(found?.size ?? 0n) }, (now() - started) / 1000);
      recorder.event(
        request.about,
        "Normal",
        "Pulled",
        `Successfully pulled image ${quoted} in ${took} (${waited} including waiting). Image size: ${found?.size ?? 0n} bytes.`,
      );
      return readyOf(id, found, image);
    } catch (error) {
      signal.throwIfAborted();
      const waitMs = backoff.next(backoffKey(request.podUid, reference), now());
      throw failureOf(request, error, waitMs, warn);
    } finally {
      release();
    }
  };

  return {
    async ensure(request, signal) {
      const { reference, policy } = request;
      const quoted = JSON.stringify(reference);
      let image: string;
      try {
        image = withDefaultTag(reference);
      } catch (error) {
        const message = `Failed to apply default image tag ${quoted}: ${messageOf(error)}`;
        warn(request, "InspectFailed", message);
        throw new ImageFailure("InvalidImageName", message, retryMs, false);
      }

      const present = policy === "Always" ? undefined : await findPresent(request, image, signal);
      if (present) return present;
      if (policy === "Always")
        metrics.ensured.inc({ pull_policy: "always", present_locally: "unknown", pull_required: "true" });
      return pullAnew(request, image, signal);
    },
  };
}

function failureOf(
  request: ImageRequest,
  error: unknown,
  waitMs: number,
  warn: (request: ImageRequest, reason: string, message: string) => void,
): ImageFailure {
  const raw = runtimeMessage(error);
  warn(request, "Failed", `Failed to pull image ${JSON.stringify(request.reference)}: ${raw}`);
  const prefixed: Readonly<Record<string, string>> = {
    RegistryUnavailable: "the registry is unavailable",
    SignatureValidationFailed: "the signature validation failed",
  };
  for (const [reason, why] of Object.entries(prefixed)) {
    if (!raw.startsWith(reason)) continue;
    const rest = raw.slice(reason.length).replace(/^:\s*/, "");
    return new ImageFailure(reason, `image pull failed for ${request.reference} because ${why}: ${rest}`, waitMs, true);
  }
  return new ImageFailure("ErrImagePull", raw, waitMs, true);
}

function specOf(request: ImageRequest, image: string) {
  return {
    image,
    annotations: { ...request.annotations, ...(request.isVolume ? { [VOLUME_ANNOTATION]: "true" } : {}) },
    userSpecifiedImage: request.reference,
  };
}

interface FoundImage {
  readonly repoDigests: readonly string[];
  readonly uid?: { readonly value: bigint } | undefined;
  readonly username: string;
}

function readyOf(id: string, found: FoundImage | undefined, image: string): ReadyImage {
  const { registry, repository } = parseReference(image);
  const digests = found?.repoDigests ?? [];
  const own = digests.find((digest) => digest.startsWith(`${registry}/${repository}@`)) ?? digests[0];
  return {
    id,
    imageRef: own !== undefined && Buffer.byteLength(own) <= 256 ? own : id,
    user: { uid: found?.uid?.value, username: found?.username ?? "" },
  };
}
