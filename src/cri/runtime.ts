import { Failure } from "#base";
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
  /** Aborts when the endpoint ends. */
  readonly ending: AbortSignal;
}

export function runtimeHandlers(options: RuntimeHandlerOptions): ProxyHandlers<typeof cri.RuntimeService> {
  const { volumes, finder, allowExec, containerd, ending } = options;

  const publish = async (request: cri.CreateContainerRequest, mount: cri.Mount, signal: AbortSignal): Promise<void> => {
    if (!mount.image) return;
    try {
      if (mount.hostPath !== "")
        throw new Failure("INVALID_ARGUMENT", "INVALID_MOUNT", `${mount.containerPath} has an image and a host path`);
      // Not ended by the caller's deadline, as no pull is: the kubelet asks again and finds more of it here.
      const object = await finder.find(mount.image, { signal: ending });
      const exec =
        allowExec && mayExec(mount, request.sandboxConfig?.annotations[EXEC] ?? mount.image.annotations[EXEC]);
      mount.hostPath = await volumes.publish({ sandbox: request.podSandboxId, object, exec, mount }, { signal });
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
      if (isMissing(error)) await volumes.remove(sandbox);
    }
  };

  return {
    async createContainer(request, call) {
      const mounts = request.config?.mounts.filter(({ image }) => image !== undefined) ?? [];
      for (const mount of mounts) await publish(request, mount, call.signal);
      try {
        return await call.forward(request);
      } catch (error) {
        if (mounts.length > 0) await removeIfGone(request.podSandboxId);
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
      const response = await call.forward(request);
      await volumes.remove(request.podSandboxId);
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
