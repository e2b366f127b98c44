import { type ContainerState, type ContainerStatus, type VolumeMountStatus, timestamp } from "#k8s";
import { type ContainerEntry, entriesOf, isSidecar, specOf, statusOf } from "./pod.ts";
import type { ContainerView } from "./pod-view.ts";
import { isRecursivelyReadOnly } from "./recursive-read-only.ts";
import type { StatusInput } from "./status.ts";

/** The end of a container that ran when it was last seen and is not there any more. */
const LOST: ContainerState = {
  terminated: {
    exitCode: 137,
    reason: "ContainerStatusUnknown",
    message: "The container could not be located when the pod was deleted.  The container used to be Running",
  },
};

/** The status of one container, from what the runtime has of it, and of what that has forgotten, from the status before. */
export function containerStatus(entry: ContainerEntry, input: StatusInput): ContainerStatus {
  const { container } = entry;
  const [newest, previous] = input.view.containers.filter(({ name }) => name === container.name);
  const waiting = input.waiting.get(container.name);
  const old = statusOf(input.pod, container.name);
  const named = { name: container.name, ...mountStatuses(entry, input) };
  if (newest) {
    const state = stateOf(newest, input);
    const earlier = previous ? stateOf(previous, input) : endBefore(newest, old, input);
    const isWaiting = waiting !== undefined && newest.state !== "running";
    return {
      ...named,
      ...healthOf(entry, newest, input),
      image: newest.status.image?.userSpecifiedImage || newest.status.image?.image || (container.image ?? ""),
      imageID: newest.status.imageRef,
      restartCount: newest.attempt,
      containerID: containerId(input, newest),
      state: isWaiting ? waitingFor(waiting) : state,
      lastState: isWaiting && state.terminated ? state : earlier.terminated ? earlier : {},
      resources: container.resources ?? {},
      ...(container.resources?.requests ? { allocatedResources: container.resources.requests } : {}),
      ...userOf(newest),
    };
  }

  if (old?.state?.terminated && !waiting) return { ...old, ...named };
  const isLost = old?.state?.running !== undefined && !old.lastState?.terminated;
  const isDeleted = input.pod.metadata?.deletionTimestamp !== undefined;
  const initializing = (specOf(input.pod).initContainers?.length ?? 0) > 0;
  return {
    ...named,
    image: container.image ?? "",
    imageID: (isLost ? undefined : old?.imageID) ?? "",
    ...(old?.containerID && !isLost ? { containerID: old.containerID } : {}),
    ready: false,
    ...(entry.kind === "ephemeral" ? {} : { started: false }),
    restartCount: (old?.restartCount ?? 0) + (isLost && !isDeleted ? 1 : 0),
    state: waitingFor(waiting ?? { reason: initializing ? "PodInitializing" : "ContainerCreating" }),
    lastState: old?.state?.terminated ? old.state : isLost ? LOST : (old?.lastState ?? {}),
  };
}

function stateOf(container: ContainerView, input: StatusInput): ContainerState {
  if (container.state === "running") return { running: { startedAt: time(container.status.startedAt) } };
  return container.state === "exited" ? terminated(input, container) : { waiting: {} };
}

/** How the container ended that this one took the place of, where the runtime has forgotten that one. */
function endBefore(newest: ContainerView, old: ContainerStatus | undefined, input: StatusInput): ContainerState {
  const isAnother = old?.containerID !== containerId(input, newest);
  return isAnother && old?.state?.terminated ? old.state : (old?.lastState ?? {});
}

/** What probes say of it; ephemeral containers have none, and are never ready. */
function healthOf({ container, kind }: ContainerEntry, newest: ContainerView, input: StatusInput) {
  if (kind === "ephemeral") return { ready: false };
  const { started, ready } =
    newest.state === "running" ? input.startedAndReady(newest) : { started: false, ready: false };
  if (kind === "app" || isSidecar(container)) return { started, ready };
  return { started, ready: newest.state === "exited" && newest.status.exitCode === 0 };
}

function waitingFor({ reason, message }: { readonly reason: string; readonly message?: string | undefined }) {
  return { waiting: { reason, ...(message ? { message } : {}) } };
}

function userOf({ status }: ContainerView) {
  const user = status.user?.linux;
  if (!user) return {};
  const supplementalGroups = user.supplementalGroups.map(Number);
  return { user: { linux: { uid: Number(user.uid), gid: Number(user.gid), supplementalGroups } } };
}

function mountStatuses({ container }: ContainerEntry, input: StatusInput) {
  const mounts = container.volumeMounts ?? [];
  if (mounts.length === 0) return {};
  const images = new Set((specOf(input.pod).volumes ?? []).filter((volume) => volume.image).map(({ name }) => name));
  const volumeMounts = mounts.map((mount): VolumeMountStatus => {
    const isImage = images.has(mount.name);
    const pinned = isImage ? input.imageVolumes.get(mount.name) : undefined;
    return {
      name: mount.name,
      mountPath: mount.mountPath,
      ...(mount.readOnly
        ? { readOnly: true, recursiveReadOnly: recursionOf(mount, isImage || input.supportsRecursiveReadOnly) }
        : {}),
      ...(pinned ? { volumeStatus: { image: { imageRef: pinned.imageRef } } } : {}),
    };
  });
  return { volumeMounts };
}

function recursionOf(mount: Parameters<typeof isRecursivelyReadOnly>[0], isSupported: boolean): string {
  try {
    return isRecursivelyReadOnly(mount, isSupported) ? "Enabled" : "Disabled";
  } catch {
    // Such a container does not start, and says why.
    return "Disabled";
  }
}

/** Bytes of all termination messages of a Pod. */
const MESSAGES = 12 * 1024;

function terminated(input: StatusInput, container: ContainerView): ContainerState {
  const { status } = container;
  const message = firstBytes(input.terminationMessage(container), Math.floor(MESSAGES / entriesOf(input.pod).length));
  return {
    terminated: {
      exitCode: status.exitCode,
      reason: status.reason || (status.exitCode === 0 ? "Completed" : "Error"),
      ...(message === "" ? {} : { message }),
      startedAt: time(status.startedAt),
      finishedAt: time(status.finishedAt),
      containerID: containerId(input, container),
    },
  };
}

/** Whole characters only. */
function firstBytes(text: string, limit: number): string {
  const bytes = Buffer.from(text);
  return bytes.length <= limit ? text : new TextDecoder().decode(bytes.subarray(0, limit), { stream: true });
}

const containerId = (input: StatusInput, container: ContainerView): string => `${input.runtimeName}://${container.id}`;

type Time = NonNullable<NonNullable<ContainerState["running"]>["startedAt"]>;

/** CRI's nanoseconds as the API writes times: whole seconds. */
function time(nanoseconds: bigint): Time {
  return timestamp(Number(nanoseconds / 1_000_000n));
}
