import type { CriClient } from "#wire";

/** The runtime as the kubelet uses it: CRI v1, no more. */
export type Runtime = Omit<CriClient, typeof Symbol.dispose>;

type Request<M extends keyof Runtime> = Parameters<Runtime[M]>[0];

export type SandboxConfig = NonNullable<Request<"runPodSandbox">["config"]>;
export type ContainerConfig = NonNullable<Request<"createContainer">["config"]>;
export type MountInit = NonNullable<ContainerConfig["mounts"]>[number];
export type AuthInit = NonNullable<Request<"pullImage">["auth"]>;
export type LinuxContainer = NonNullable<ContainerConfig["linux"]>;
export type LinuxResources = NonNullable<LinuxContainer["resources"]>;
export type LinuxSecurity = NonNullable<LinuxContainer["securityContext"]>;

/** Labels and annotations that every kubelet writes, so that any kubelet finds its Pods again. */
export const LABELS = {
  podName: "io.kubernetes.pod.name",
  podNamespace: "io.kubernetes.pod.namespace",
  podUid: "io.kubernetes.pod.uid",
  container: "io.kubernetes.container.name",
} as const;

export const ANNOTATIONS = {
  hash: "io.kubernetes.container.hash",
  restartCount: "io.kubernetes.container.restartCount",
  terminationMessagePath: "io.kubernetes.container.terminationMessagePath",
  terminationMessagePolicy: "io.kubernetes.container.terminationMessagePolicy",
  gracePeriod: "io.kubernetes.pod.terminationGracePeriod",
  /** Where this container's termination message is on the host. */
  terminationMessageFile: "orlop.dev/termination-message-file",
  /** On a sandbox: whose it is. Several kubelets may share one runtime, and each removes only its own orphans. */
  node: "orlop.dev/node",
} as const;
