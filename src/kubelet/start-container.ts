import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { randomBytes } from "node:crypto";
import { dirname, join } from "node:path";
import { Failure, messageOf } from "#base";
import type { Pod } from "#k8s";
import { containerConfig, type ContainerSettings, imageVolumesOf, type PinnedImage } from "./container-config.ts";
import type { Kubelet } from "./context.ts";
import type { SandboxConfig } from "./cri.ts";
import type { DownwardFacts } from "./downward.ts";
import { environmentOf } from "./environment.ts";
import { referenceTo } from "./events.ts";
import { runHook } from "./hooks.ts";
import { hostsFile } from "./hosts-file.ts";
import type { ReadyImage } from "./image-puller.ts";
import { type ContainerEntry, graceSecondsOf, uidOf } from "./pod.ts";
import type { SandboxView } from "./pod-view.ts";
import { podLogsDirectory } from "./sandbox-config.ts";
import { stopContainer } from "./stop-container.ts";

/** How a runtime's error begins that is about an image volume, by CRI. */
const MOUNT_FAILED = "ImageVolumeMountFailed";

export interface StartRequest {
  readonly pod: Pod;
  readonly entry: ContainerEntry;
  readonly attempt: number;
  readonly sandbox: SandboxView;
  readonly sandboxConfig: SandboxConfig;
  readonly image: ReadyImage;
  readonly imageVolumes: ReadonlyMap<string, PinnedImage>;
  readonly volumePaths: ReadonlyMap<string, string>;
  readonly facts: DownwardFacts;
  readonly targetId: string | undefined;
}

/** Why a container could not be started: the reason and message it then waits with. */
export class StartFailure extends Failure {
  constructor(reason: string, message: string) {
    super("FAILED_PRECONDITION", reason, message);
  }
}

/** Creates and starts one container and runs its postStart hook, with the Events of each step. @throws StartFailure */
export async function startContainer(kubelet: Kubelet, request: StartRequest): Promise<void> {
  const { runtime, recorder, metrics } = kubelet;
  const { pod, entry, sandbox } = request;
  const about = referenceTo(pod, entry.fieldPath);
  const fail = (reason: string, message: string): never => {
    recorder.event(about, "Warning", "Failed", `Error: ${message}`);
    throw new StartFailure(reason, message);
  };
  const volumes = imageVolumesOf(pod, entry.container).map(({ name }) => name);
  const mounts = (entry.container.volumeMounts ?? []).filter(({ name }) => volumes.includes(name)).length;
  metrics.imageVolumesRequested.inc(volumes.length);

  let config;
  try {
    config = await containerConfig(await settingsOf(kubelet, request));
    await mkdir(join(podLogsDirectory(kubelet.podLogsDir, pod), entry.container.name), {
      recursive: true,
      mode: 0o755,
    });
  } catch (error) {
    return fail("CreateContainerConfigError", messageOf(error));
  }

  let containerId: string;
  try {
    const sandboxConfig = request.sandboxConfig;
    ({ containerId } = await runtime.createContainer({ podSandboxId: sandbox.id, config, sandboxConfig }));
  } catch (error) {
    if (messageOf(error).startsWith(MOUNT_FAILED)) metrics.imageVolumesFailed.inc(mounts);
    return fail("CreateContainerError", messageOf(error));
  }
  metrics.imageVolumesMounted.inc(mounts);
  recorder.event(about, "Normal", "Created", "Container created");

  try {
    await runtime.startContainer({ containerId });
  } catch (error) {
    return fail("RunContainerError", messageOf(error));
  }
  recorder.event(about, "Normal", "Started", "Container started");

  const hook = entry.container.lifecycle?.postStart;
  if (!hook) return;
  try {
    await runHook(kubelet, hook, { pod, container: entry.container, containerId, podIp: sandbox.ips[0] });
  } catch (error) {
    recorder.event(about, "Warning", "FailedPostStartHook", "PostStartHook failed");
    await stopContainer(kubelet, {
      pod,
      entry,
      container: { id: containerId, state: "running" },
      message: "FailedPostStartHook",
      graceSeconds: graceSecondsOf(pod),
      podIp: sandbox.ips[0],
    });
    throw new StartFailure("PostStartHookError", messageOf(error));
  }
}

async function settingsOf(kubelet: Kubelet, request: StartRequest): Promise<ContainerSettings> {
  const { pod, entry, image, attempt } = request;
  const { container } = entry;
  const directory = kubelet.volumes.podDirectory(uidOf(pod));
  const terminationFile = join(directory, "containers", container.name, randomBytes(4).toString("hex"));
  await mkdir(dirname(terminationFile), { recursive: true, mode: 0o750 });
  // The container's user is not known here, and must be able to write.
  await writeFile(terminationFile, "");
  await chmod(terminationFile, 0o666);
  const hosts = join(directory, "etc-hosts");
  const text = hostsFile(pod, request.facts.podIps, await kubelet.nodeHosts());
  if ((await readFile(hosts, "utf8").catch(() => undefined)) !== text) await writeFile(hosts, text, { mode: 0o644 });
  return {
    pod,
    container,
    imageId: image.id,
    imageUser: image.user,
    env: await environmentOf(pod, container, kubelet.objects, request.facts, await kubelet.services.variablesFor(pod)),
    attempt,
    volumePaths: request.volumePaths,
    subPath: ({ volume, index, subPath }) =>
      kubelet.volumes.subPath({
        volumePath: request.volumePaths.get(volume) ?? "",
        subPath,
        mount: join(uidOf(pod), "volume-subpaths", volume, container.name, String(index)),
      }),
    imageVolumes: request.imageVolumes,
    hostsFile: hosts,
    terminationFile,
    nodeMemory: kubelet.allocatable.memory ?? 0,
    supportsRecursiveReadOnly: kubelet.supportsRecursiveReadOnly,
    targetId: request.targetId,
  };
}
