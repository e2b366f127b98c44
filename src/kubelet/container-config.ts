import { createHash } from "node:crypto";
import { join } from "node:path";
import { Failure } from "#base";
import type { Pod, Volume, VolumeMount } from "#k8s";
import { cri } from "#wire";
import { ANNOTATIONS, type ContainerConfig, LABELS, type MountInit } from "./cri.ts";
import { expand } from "./expand.ts";
import { type AnyContainer, graceSecondsOf, nameOf, namespaceOf, specOf, uidOf } from "./pod.ts";
import { isRecursivelyReadOnly } from "./recursive-read-only.ts";
import { resourcesOf } from "./resources.ts";
import { containerSecurity, type ImageUser } from "./security.ts";

/** An image volume that is here: what it resolved to when the Pod first needed it, and what that is called in a status. */
export interface PinnedImage {
  /** The runtime's id of the image. */
  readonly id: string;
  /** `repository@digest` where the runtime knows it. */
  readonly imageRef: string;
}

export interface ContainerSettings {
  readonly pod: Pod;
  readonly container: AnyContainer;
  readonly imageId: string;
  readonly imageUser: ImageUser;
  readonly env: ReadonlyMap<string, string>;
  readonly attempt: number;
  /** Host paths of volumes that are no images. */
  readonly volumePaths: ReadonlyMap<string, string>;
  /** Where a sub path of such a volume is, held so that nobody can put something else in its place. */
  readonly subPath: (request: {
    readonly volume: string;
    readonly index: number;
    readonly subPath: string;
  }) => Promise<string>;
  /** By volume name. */
  readonly imageVolumes: ReadonlyMap<string, PinnedImage>;
  /** Files that the kubelet itself puts into the container. */
  readonly hostsFile: string | undefined;
  readonly terminationFile: string;
  readonly nodeMemory: number;
  /** The runtime can make all that is mounted below a mount read-only. */
  readonly supportsRecursiveReadOnly: boolean;
  /** The runtime id of the container whose processes an ephemeral one wants to see. */
  readonly targetId: string | undefined;
}

/** @throws Failure in the words of a `CreateContainerConfigError` */
export async function containerConfig(settings: ContainerSettings): Promise<ContainerConfig> {
  const { pod, container, env, attempt } = settings;
  const path = terminationPathOf(container);
  return {
    metadata: { name: container.name, attempt },
    image: { image: settings.imageId, userSpecifiedImage: container.image ?? "" },
    command: (container.command ?? []).map((word) => expand(word, env)),
    args: (container.args ?? []).map((word) => expand(word, env)),
    workingDir: container.workingDir ?? "",
    envs: [...env].map(([key, value]) => ({ key, value: Buffer.from(value) })),
    mounts: await mountsOf(settings),
    devices: [],
    labels: {
      [LABELS.podName]: nameOf(pod),
      [LABELS.podNamespace]: namespaceOf(pod),
      [LABELS.podUid]: uidOf(pod),
      [LABELS.container]: container.name,
    },
    annotations: {
      [ANNOTATIONS.hash]: hashOf(container),
      [ANNOTATIONS.restartCount]: String(attempt),
      [ANNOTATIONS.terminationMessagePath]: path,
      [ANNOTATIONS.terminationMessagePolicy]: container.terminationMessagePolicy ?? "File",
      [ANNOTATIONS.terminationMessageFile]: settings.terminationFile,
      [ANNOTATIONS.gracePeriod]: String(graceSecondsOf(pod)),
    },
    logPath: join(container.name, `${attempt}.log`),
    stdin: container.stdin ?? false,
    stdinOnce: container.stdinOnce ?? false,
    tty: container.tty ?? false,
    linux: {
      resources: resourcesOf(pod, container, settings.nodeMemory),
      securityContext: containerSecurity(pod, container, settings.imageUser, settings.targetId),
    },
  };
}

/** Changes where a running container must be replaced: its image. */
export function hashOf(container: AnyContainer): string {
  return createHash("sha256").update(`${container.name}\0${container.image}`).digest("hex").slice(0, 8);
}

export const terminationPathOf = (container: AnyContainer): string =>
  container.terminationMessagePath || "/dev/termination-log";

/** The image volumes that a container mounts. */
export function imageVolumesOf(pod: Pod, container: AnyContainer): Volume[] {
  const mounted = new Set((container.volumeMounts ?? []).map(({ name }) => name));
  return (specOf(pod).volumes ?? []).filter((volume) => volume.image && mounted.has(volume.name));
}

async function mountsOf(settings: ContainerSettings): Promise<MountInit[]> {
  const { pod, container } = settings;
  const mounts: MountInit[] = [];
  for (const [index, mount] of (container.volumeMounts ?? []).entries()) {
    const volume = specOf(pod).volumes?.find(({ name }) => name === mount.name);
    if (!volume)
      throw new Failure(
        "NOT_FOUND",
        "NO_VOLUME",
        `no volume named ${JSON.stringify(mount.name)} for container ${container.name}`,
      );
    const subPath = subPathOf(mount, settings.env);
    const common = {
      containerPath: mount.mountPath.startsWith("/") ? mount.mountPath : `/${mount.mountPath}`,
      propagation: propagationOf(mount),
      recursiveReadOnly: isRecursivelyReadOnly(mount, Boolean(volume.image) || settings.supportsRecursiveReadOnly),
    };
    if (volume.image) mounts.push({ ...common, ...imageMount(settings, volume, subPath), readonly: true });
    else {
      const path = settings.volumePaths.get(volume.name);
      if (path === undefined)
        throw new Failure("FAILED_PRECONDITION", "NO_VOLUME", `volume ${JSON.stringify(volume.name)} is not ready`);
      mounts.push({
        ...common,
        hostPath: subPath === "" ? path : await settings.subPath({ volume: volume.name, index, subPath }),
        readonly: mount.readOnly === true || isReadOnly(volume),
      });
    }
  }
  const taken = new Set(mounts.map(({ containerPath }) => containerPath));
  const own: MountInit[] = [
    ...(settings.hostsFile === undefined ? [] : [{ containerPath: "/etc/hosts", hostPath: settings.hostsFile }]),
    { containerPath: terminationPathOf(container), hostPath: settings.terminationFile },
  ];
  return [...mounts, ...own.filter(({ containerPath }) => !taken.has(containerPath))];
}

function imageMount({ pod, imageVolumes }: ContainerSettings, volume: Volume, subPath: string) {
  const pinned = imageVolumes.get(volume.name);
  if (!pinned)
    throw new Failure("FAILED_PRECONDITION", "NO_VOLUME", `image volume ${JSON.stringify(volume.name)} is not ready`);
  return {
    image: {
      image: pinned.id,
      userSpecifiedImage: volume.image?.reference ?? "",
      annotations: { ...pod.metadata?.annotations, [VOLUME_NAME]: volume.name },
    },
    imageSubPath: subPath,
  };
}

/** Tells the runtime which volume of the Pod a mount belongs to, since CRI has no word for it. */
const VOLUME_NAME = "orlop.dev/volume-name";

function subPathOf(mount: VolumeMount, env: ReadonlyMap<string, string>): string {
  if (!mount.subPathExpr) return mount.subPath ?? "";
  const missing = new Set<string>();
  const path = expand(mount.subPathExpr, env, (name) => missing.add(name));
  if (missing.size > 0)
    throw new Failure("FAILED_PRECONDITION", "NO_VARIABLE", `missing value for ${[...missing].sort().join(", ")}`);
  if (path.startsWith("/") || path.split("/").includes(".."))
    throw new Failure(
      "INVALID_ARGUMENT",
      "UNSAFE_PATH",
      `subPathExpr ${JSON.stringify(mount.subPathExpr)} leaves the volume`,
    );
  return path;
}

/** What the API fills is never written by a container. */
const isReadOnly = (volume: Volume): boolean =>
  Boolean(volume.configMap ?? volume.secret ?? volume.downwardAPI ?? volume.projected);

function propagationOf(mount: VolumeMount): cri.MountPropagation {
  switch (mount.mountPropagation) {
    case "HostToContainer":
      return cri.MountPropagation.PROPAGATION_HOST_TO_CONTAINER;
    case "Bidirectional":
      return cri.MountPropagation.PROPAGATION_BIDIRECTIONAL;
    case undefined:
    default:
      return cri.MountPropagation.PROPAGATION_PRIVATE;
  }
}
