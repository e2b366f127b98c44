import { Failure } from "#base";
import type { Pod, SecurityContext } from "#k8s";
import { cri } from "#wire";
import type { LinuxSecurity } from "./cri.ts";
import { type AnyContainer, describePod, specOf } from "./pod.ts";

type Profile = { readonly type: string; readonly localhostProfile?: string } | undefined;

/** Who an image says it runs as. */
export interface ImageUser {
  readonly uid?: bigint | undefined;
  readonly username?: string | undefined;
}

// What the procMount type Default hides, as all kubelets send it.
const MASKED = [
  "/proc/asound",
  "/proc/acpi",
  "/proc/interrupts",
  "/proc/kcore",
  "/proc/keys",
  "/proc/latency_stats",
  "/proc/timer_list",
  "/proc/timer_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/sys/firmware",
  "/sys/devices/virtual/powercap",
];
const READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

export function sandboxSecurity(pod: Pod) {
  const spec = specOf(pod);
  const context = spec.securityContext ?? {};
  const everyone = [...(spec.initContainers ?? []), ...(spec.containers ?? [])];
  return {
    namespaceOptions: namespaces(pod, undefined),
    privileged: everyone.some((container) => container.securityContext?.privileged === true),
    seccomp: seccompOf(context.seccompProfile) ?? { profileType: cri.SecurityProfile_ProfileType.RuntimeDefault },
    supplementalGroups: groupsOf(pod),
    ...(context.runAsUser === undefined ? {} : { runAsUser: { value: BigInt(context.runAsUser) } }),
    ...(context.runAsGroup === undefined || context.runAsUser === undefined
      ? {}
      : { runAsGroup: { value: BigInt(context.runAsGroup) } }),
    ...(context.seLinuxOptions ? { selinuxOptions: context.seLinuxOptions } : {}),
  };
}

/** @throws Failure RUN_AS_ROOT where `runAsNonRoot` cannot be kept, in upstream's words */
export function containerSecurity(
  pod: Pod,
  container: AnyContainer,
  image: ImageUser,
  targetId: string | undefined,
): LinuxSecurity {
  const of = specOf(pod).securityContext ?? {};
  const own: SecurityContext = container.securityContext ?? {};
  const user = own.runAsUser ?? of.runAsUser;
  const group = own.runAsGroup ?? of.runAsGroup;
  if (own.runAsNonRoot ?? of.runAsNonRoot) verifyNonRoot(pod, container, user, image);
  const privileged = own.privileged === true;
  const unmasked = privileged || own.procMount === "Unmasked";
  const seccomp = seccompOf(own.seccompProfile ?? of.seccompProfile);
  const appArmor = profileOf((own as AppArmor).appArmorProfile ?? (of as AppArmor).appArmorProfile);
  const selinux = own.seLinuxOptions ?? of.seLinuxOptions;
  return {
    privileged,
    namespaceOptions: namespaces(pod, targetId),
    readonlyRootfs: own.readOnlyRootFilesystem === true,
    noNewPrivs: own.allowPrivilegeEscalation === false,
    supplementalGroups: groupsOf(pod),
    maskedPaths: unmasked ? [] : MASKED,
    readonlyPaths: unmasked ? [] : READ_ONLY,
    ...userOf(user, image),
    ...(group === undefined ? {} : { runAsGroup: { value: BigInt(group) } }),
    ...(own.capabilities
      ? {
          capabilities: {
            addCapabilities: own.capabilities.add ?? [],
            dropCapabilities: own.capabilities.drop ?? [],
          },
        }
      : {}),
    seccomp: privileged || !seccomp ? { profileType: cri.SecurityProfile_ProfileType.Unconfined } : seccomp,
    ...(appArmor ? { apparmor: appArmor } : {}),
    ...(selinux ? { selinuxOptions: selinux } : {}),
  };
}

interface AppArmor {
  readonly appArmorProfile?: Profile;
}

function userOf(user: number | undefined, image: ImageUser) {
  if (user !== undefined) return { runAsUser: { value: BigInt(user) } };
  if (image.uid !== undefined) return { runAsUser: { value: image.uid } };
  return image.username ? { runAsUsername: image.username } : {};
}

function verifyNonRoot(pod: Pod, container: AnyContainer, user: number | undefined, image: ImageUser): void {
  const where = `(pod: "${describePod(pod)}", container: ${container.name})`;
  const refuse = (why: string): never => {
    throw new Failure("FAILED_PRECONDITION", "RUN_AS_ROOT", `${why} ${where}`);
  };
  if (user === 0) refuse("container's runAsUser breaks non-root policy");
  if (user !== undefined) return;
  if (image.uid === 0n || (image.uid === undefined && !image.username))
    refuse("container has runAsNonRoot and image will run as root");
  if (image.username)
    refuse(
      `container has runAsNonRoot and image has non-numeric user (${image.username}), cannot verify user is non-root`,
    );
}

function namespaces(pod: Pod, targetId: string | undefined) {
  const spec = specOf(pod);
  const { POD, CONTAINER, NODE, TARGET } = cri.NamespaceMode;
  const pid = spec.hostPID ? NODE : spec.shareProcessNamespace ? POD : targetId ? TARGET : CONTAINER;
  return {
    network: spec.hostNetwork ? NODE : POD,
    pid,
    ipc: spec.hostIPC ? NODE : POD,
    ...(pid === TARGET && targetId ? { targetId } : {}),
  };
}

function groupsOf(pod: Pod): bigint[] {
  const { fsGroup, supplementalGroups } = specOf(pod).securityContext ?? {};
  return [...(fsGroup === undefined ? [] : [fsGroup]), ...(supplementalGroups ?? [])].map(BigInt);
}

const seccompOf = profileOf;

function profileOf(profile: Profile) {
  const types = cri.SecurityProfile_ProfileType;
  switch (profile?.type) {
    case "RuntimeDefault":
      return { profileType: types.RuntimeDefault };
    case "Unconfined":
      return { profileType: types.Unconfined };
    case "Localhost":
      return { profileType: types.Localhost, localhostRef: profile.localhostProfile ?? "" };
    case undefined:
    default:
      return undefined;
  }
}
