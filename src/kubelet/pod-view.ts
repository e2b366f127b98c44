import { Failure } from "#base";
import { cri } from "#wire";
import { ANNOTATIONS, LABELS, type Runtime } from "./cri.ts";

/** One container as the runtime has it. */
export interface ContainerView {
  readonly id: string;
  readonly name: string;
  readonly sandboxId: string;
  readonly attempt: number;
  readonly state: "created" | "running" | "exited" | "unknown";
  readonly status: cri.ContainerStatus;
}

export interface SandboxView {
  readonly id: string;
  readonly attempt: number;
  readonly ready: boolean;
  readonly ips: readonly string[];
  readonly createdAt: bigint;
}

/** What the runtime has of a Pod, the newest first. */
export interface PodView {
  readonly sandboxes: readonly SandboxView[];
  readonly containers: readonly ContainerView[];
}

const STATES = ["created", "running", "exited", "unknown"] as const;

export async function viewPod(runtime: Runtime, podUid: string): Promise<PodView> {
  const labelSelector = { [LABELS.podUid]: podUid };
  const [{ items }, { containers }] = await Promise.all([
    runtime.listPodSandbox({ filter: { labelSelector } }),
    runtime.listContainers({ filter: { labelSelector } }),
  ]);
  const [sandboxes, views] = await Promise.all([
    Promise.all(items.map((item) => viewSandbox(runtime, item))),
    Promise.all(containers.map((container) => viewContainer(runtime, container))),
  ]);
  return {
    sandboxes: sandboxes.filter((one) => one !== undefined).sort((a, b) => Number(b.createdAt - a.createdAt)),
    containers: views
      .filter((one) => one !== undefined)
      .sort((a, b) => b.attempt - a.attempt || Number(b.status.createdAt - a.status.createdAt)),
  };
}

export const newestOf = (view: PodView, name: string): ContainerView | undefined =>
  view.containers.find((container) => container.name === name);

export const readySandbox = (view: PodView): SandboxView | undefined =>
  view.sandboxes[0]?.ready ? view.sandboxes[0] : undefined;

async function viewSandbox(runtime: Runtime, item: cri.PodSandbox): Promise<SandboxView | undefined> {
  const { status } = await unlessGone(runtime.podSandboxStatus({ podSandboxId: item.id, verbose: false }), {});
  if (!status) return undefined;
  const { network } = status;
  const ips = [network?.ip ?? "", ...(network?.additionalIps ?? []).map(({ ip }) => ip)].filter((ip) => ip !== "");
  return {
    id: status.id,
    attempt: status.metadata?.attempt ?? 0,
    ready: status.state === cri.PodSandboxState.SANDBOX_READY,
    ips,
    createdAt: status.createdAt,
  };
}

async function viewContainer(runtime: Runtime, container: cri.Container): Promise<ContainerView | undefined> {
  const { status } = await unlessGone(runtime.containerStatus({ containerId: container.id, verbose: false }), {});
  if (!status) return undefined;
  return {
    id: status.id,
    name: status.labels[LABELS.container] ?? status.metadata?.name ?? "",
    sandboxId: container.podSandboxId,
    attempt: Number(status.annotations[ANNOTATIONS.restartCount] ?? status.metadata?.attempt ?? 0),
    state: STATES[status.state] ?? "unknown",
    status,
  };
}

async function unlessGone<T, E>(answer: Promise<T>, empty: E): Promise<T | (E & Partial<T>)> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof Failure && error.code === "NOT_FOUND") return empty as E & Partial<T>;
    throw error;
  }
}
