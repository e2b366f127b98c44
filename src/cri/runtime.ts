import { Failure } from "#base";
import { cri, type ProxyHandlers } from "#wire";
import { volumeFailure } from "./errors.ts";
import type { ImageFinder } from "./find-image.ts";
import type { SandboxVolumes } from "./sandbox-volumes.ts";

/** On a Pod: the volumes, separated by commas, whose programs may be run. Under a stock kubelet: their paths in the container. */
const EXEC = "orlop.dev/exec";
/** On a mount's ImageSpec, by our kubelet: which volume of the Pod it is, since CRI has no word for it. */
const VOLUME_NAME = "orlop.dev/volume-name";

export interface RuntimeHandlerOptions {
  readonly volumes: SandboxVolumes;
  readonly finder: ImageFinder;
  readonly allowExec: boolean;
}

export function runtimeHandlers(options: RuntimeHandlerOptions): ProxyHandlers<typeof cri.RuntimeService> {
  const { volumes, finder, allowExec } = options;

  const publish = async (request: cri.CreateContainerRequest, mount: cri.Mount, signal: AbortSignal): Promise<void> => {
    if (!mount.image) return;
    try {
      if (mount.hostPath !== "")
        throw new Failure("INVALID_ARGUMENT", "INVALID_MOUNT", `${mount.containerPath} has an image and a host path`);
      const object = await finder.find(mount.image, { signal });
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

  return {
    async createContainer(request, call) {
      // One after the other: two mounts of one image shall not race for its target.
      for (const mount of request.config?.mounts ?? []) await publish(request, mount, call.signal);
      return await call.forward(request);
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
