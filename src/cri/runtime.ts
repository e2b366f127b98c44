import { Failure, messageOf, type Log } from "#base";
import { cri, type CriClient, type ProxyHandlers } from "#wire";
import { volumeFailure } from "./errors.ts";
import { isMissing, type ImageFinder } from "./find-image.ts";
import type { SandboxVolumes } from "./sandbox-volumes.ts";

/** On a Pod: the volumes, separated by commas, whose programs may be run. Under a stock kubelet: their paths in the container. */
const EXEC = "orlop.dev/exec";
/** On a mount's ImageSpec, by our kubelet: which volume of the Pod it is, since CRI has no word for it. */
const VOLUME_NAME = "orlop.dev/volume-name";

export interface RuntimeHandlerOptions {
  readonly volumes: SandboxVolumes;
  readonly finder: ImageFinder;
  readonly allowExec: boolean;
  readonly containerd: CriClient;
  readonly log: Log;
  /** Aborts when the endpoint ends. */
  readonly ending: AbortSignal;
}

export function runtimeHandlers(options: RuntimeHandlerOptions): ProxyHandlers<typeof cri.RuntimeService> {
  const { volumes, finder, allowExec, containerd, log, ending } = options;

  /** Runtimes take the beginning of an id for the whole. Volumes are kept by the whole one. */
  const wholeId = async (sandbox: string, signal: AbortSignal): Promise<string> => {
    if (/^[0-9a-f]{64}$/.test(sandbox)) return sandbox;
    const { status } = await containerd.podSandboxStatus({ podSandboxId: sandbox }, { signal });
    if (status && /^[\w-]+$/.test(status.id)) return status.id;
    throw new Failure("NOT_FOUND", "SANDBOX_NOT_FOUND", `containerd does not say which sandbox ${sandbox} is`);
  };

  const publish = async (
    sandbox: string,
    request: cri.CreateContainerRequest,
    mount: cri.Mount,
    signal: AbortSignal,
  ): Promise<void> => {
    if (!mount.image) return;
    try {
      if (mount.hostPath !== "")
        throw new Failure("INVALID_ARGUMENT", "INVALID_MOUNT", `${mount.containerPath} has an image and a host path`);
      // Not ended by the caller's deadline, as no pull is: the kubelet asks again and finds more of it here.
      const object = await finder.find(mount.image, { signal: ending });
      const exec =
        allowExec && mayExec(mount, request.sandboxConfig?.annotations[EXEC] ?? mount.image.annotations[EXEC]);
      mount.hostPath = await volumes.publish({ sandbox, object, exec, mount }, { signal });
    } catch (error) {
      signal.throwIfAborted();
      throw volumeFailure(error);
    }
    delete mount.image;
    mount.imageSubPath = "";
    mount.mountOptions = [];
    // To runc 1.1 read-only means a remount with `ro` alone, which takes noexec, nosuid and nodev off again. The mount is
    // read-only by itself, has nothing mounted below it, and cannot be relabelled.
    mount.readonly = false;
    mount.recursiveReadOnly = false;
    mount.selinuxRelabel = false;
    mount.propagation = cri.MountPropagation.PROPAGATION_PRIVATE;
  };

  const restore = (status: cri.ContainerStatus | undefined): void => {
    for (const mount of status?.mounts ?? []) {
      const asked = volumes.asked(mount);
      if (!asked) continue;
      const { image, userSpecifiedImage, imageRef, runtimeHandler } = asked;
      // Stock kubelets keep an image that a container's status names.
      mount.image = {
        $typeName: "runtime.v1.ImageSpec",
        image,
        userSpecifiedImage,
        runtimeHandler,
        imageRef: imageRef || image,
        annotations: {},
      };
      mount.imageSubPath = asked.subPath;
      mount.readonly = asked.readonly;
      mount.hostPath = "";
    }
  };

  /** A container may be asked for in a sandbox that was removed: nobody would remove its volumes after that. */
  const removeIfGone = async (sandbox: string): Promise<void> => {
    try {
      await containerd.podSandboxStatus({ podSandboxId: sandbox }, { timeout: 10_000, signal: ending });
    } catch (error) {
      if (!isMissing(error)) return;
      // The caller hears why there is no container. What stays is removed at the next start.
      await volumes.remove(sandbox).catch((failure: unknown) => {
        log.warn({ sandbox, error: messageOf(failure) }, "the volumes of a sandbox that is gone could not be removed");
      });
    }
  };

  return {
    async createContainer(request, call) {
      const mounts = request.config?.mounts.filter(({ image }) => image !== undefined) ?? [];
      if (mounts.length === 0) return await call.forward(request);
      const sandbox = await wholeId(request.podSandboxId, call.signal);
      for (const mount of mounts) await publish(sandbox, request, mount, call.signal);
      try {
        return await call.forward(request);
      } catch (error) {
        await removeIfGone(sandbox);
        throw error;
      }
    },

    async containerStatus(request, call) {
      const response = await call.forward(request);
      restore(response.status);
      return response;
    },

    async podSandboxStatus(request, call) {
      const response = await call.forward(request);
      for (const status of response.containersStatuses) restore(status);
      return response;
    },

    async removePodSandbox(request, call) {
      // Asked before it is gone. What containerd does not know has no volumes by a name that is not whole.
      const sandbox = await wholeId(request.podSandboxId, call.signal).catch((error: unknown) => {
        if (isMissing(error)) return undefined;
        throw error;
      });
      const response = await call.forward(request);
      if (sandbox !== undefined) await volumes.remove(sandbox);
      return response;
    },
  };
}

/** CRI's mount options say it first, then the Pod's annotation. */
function mayExec(mount: cri.Mount, annotation = ""): boolean {
  if (mount.mountOptions.includes("noexec")) return false;
  if (mount.mountOptions.includes("exec")) return true;
  const name = mount.image?.annotations[VOLUME_NAME];
  const wanted = annotation.split(",").map((word) => word.trim());
  return wanted.some((word) => word !== "" && (word === name || word === mount.containerPath));
}
