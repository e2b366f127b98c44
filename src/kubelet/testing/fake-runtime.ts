import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "#base";
import { cri } from "#wire";
import type { Runtime } from "../cri.ts";

type PullRequest = Parameters<Runtime["pullImage"]>[0];
type CreateRequest = Parameters<Runtime["createContainer"]>[0];

export interface FakeImage {
  readonly id: string;
  readonly size?: bigint;
  readonly repoDigests?: string[];
  readonly uid?: bigint;
  readonly username?: string;
}

interface FakeContainer {
  readonly id: string;
  readonly sandboxId: string;
  readonly request: CreateRequest;
  state: "created" | "running" | "exited";
  exitCode: number;
  createdAt: bigint;
  startedAt: bigint;
  finishedAt: bigint;
}

interface FakeSandbox {
  readonly id: string;
  readonly config: NonNullable<Parameters<Runtime["runPodSandbox"]>[0]["config"]>;
  readonly createdAt: bigint;
  ready: boolean;
}

/** A CRI runtime in memory. What is asked of it is kept; what it answers can be replaced. */
export interface FakeRuntime extends Runtime {
  /** `pullImage quay.io/x:v1` …: every call that changes something, in order. */
  readonly calls: string[];
  readonly pulls: PullRequest[];
  readonly created: CreateRequest[];
  readonly stops: { readonly name: string; readonly timeout: number }[];
  readonly images: Map<string, FakeImage>;
  readonly containers: Map<string, FakeContainer>;
  readonly sandboxes: Map<string, FakeSandbox>;
  /** Of every sandbox. */
  podIp: string;
  /** What a pull does: the image it brings, or what it throws. Default: an image of that name. */
  onPull: (reference: string, request: PullRequest, signal: AbortSignal | undefined) => Promise<FakeImage> | FakeImage;
  onCreate: (request: CreateRequest) => void;
  onExec: (
    cmd: readonly string[],
    name: string,
  ) => { exitCode: number; stdout?: string } | Promise<{ exitCode: number; stdout?: string }>;
  /** Ends the newest running container of that name, as its process would. */
  exit(name: string, exitCode: number): void;
  running(name: string): FakeContainer[];
  /** Resolves when `test` holds, tried again and again. */
  until(test: () => boolean): Promise<void>;
}

/** An error as a runtime's gRPC status arrives. */
export const status = (code: ConstructorParameters<typeof Failure>[0], message: string): Failure =>
  new Failure(code, "RPC_FAILED", message);

export function fakeRuntime(): FakeRuntime {
  const calls: string[] = [];
  const containers = new Map<string, FakeContainer>();
  const sandboxes = new Map<string, FakeSandbox>();
  const images = new Map<string, FakeImage>();
  let clock = BigInt(Date.now()) * 1_000_000n;
  // Strictly rising, so that the newest is always known.
  const now = (): bigint =>
    (clock = clock + 1n > BigInt(Date.now()) * 1_000_000n ? clock + 1n : BigInt(Date.now()) * 1_000_000n);
  const id = (): string => randomBytes(32).toString("hex");
  const missing = (what: string): Failure => status("NOT_FOUND", `${what}: not found`);
  const containerOf = (containerId: string | undefined): FakeContainer => {
    const container = containers.get(containerId ?? "");
    if (!container) throw missing(`container "${containerId}"`);
    return container;
  };
  const nameOf = (container: FakeContainer): string => container.request.config?.metadata?.name ?? "";
  const end = (container: FakeContainer, exitCode: number): void => {
    if (container.state !== "running") return;
    container.state = "exited";
    container.exitCode = exitCode;
    container.finishedAt = now();
  };
  const wanted = (
    labels: Record<string, string> | undefined,
    filter: { labelSelector?: Record<string, string> } | undefined,
  ) => Object.entries(filter?.labelSelector ?? {}).every(([key, value]) => labels?.[key] === value);
  // Tests need not fill in every field of a message.
  const message = (value: object): never => value as never;
  const byName = (reference: string): FakeImage | undefined =>
    images.get(reference) ?? [...images.values()].find((image) => image.id === reference);

  const fake: FakeRuntime = {
    calls,
    pulls: [],
    created: [],
    stops: [],
    images,
    containers,
    sandboxes,
    podIp: "10.0.0.7",
    onPull: (reference) => ({ id: `sha256:${Buffer.from(reference).toString("hex").slice(0, 64).padEnd(64, "0")}` }),
    onCreate: () => {},
    onExec: () => ({ exitCode: 0 }),
    exit(name, exitCode) {
      const [container] = fake.running(name);
      if (container) end(container, exitCode);
    },
    running: (name) =>
      [...containers.values()]
        .filter((container) => nameOf(container) === name && container.state === "running")
        .reverse(),

    async until(test) {
      const deadline = AbortSignal.timeout(10_000);
      while (!test()) await sleep(5, undefined, { signal: deadline });
    },

    version: async () =>
      message({ version: "v1", runtimeName: "fake", runtimeVersion: "1.0", runtimeApiVersion: "v1" }),
    status: async () =>
      message({
        status: {
          conditions: [
            { type: "RuntimeReady", status: true, reason: "", message: "" },
            { type: "NetworkReady", status: true, reason: "", message: "" },
          ],
        },
        info: {},
      }),
    runtimeConfig: async () => message({ linux: { cgroupDriver: cri.CgroupDriver.CGROUPFS } }),
    updateRuntimeConfig: async () => message({}),

    imageStatus: async ({ image }) => {
      const found = byName(image?.image ?? "");
      return message({
        image: found && {
          repoTags: [],
          repoDigests: [],
          size: 1247n,
          username: "",
          ...found,
          ...(found.uid === undefined ? { uid: undefined } : { uid: { value: found.uid } }),
        },
        info: {},
      });
    },
    pullImage: async (request, options) => {
      const reference = request.image?.image ?? "";
      calls.push(`pullImage ${reference}`);
      fake.pulls.push(request);
      const image = await fake.onPull(reference, request, options?.signal);
      images.set(reference, image);
      return message({ imageRef: image.id });
    },
    listImages: async () =>
      message({
        images: [...images].map(([name, image]) => ({
          repoTags: [name],
          repoDigests: [],
          size: 1247n,
          pinned: false,
          ...image,
        })),
      }),
    removeImage: async ({ image }) => {
      calls.push(`removeImage ${image?.image}`);
      for (const [name, one] of images) if (name === image?.image || one.id === image?.image) images.delete(name);
      return message({});
    },
    imageFsInfo: async () => message({ imageFilesystems: [], containerFilesystems: [] }),
    streamImages: async function* () {},

    runPodSandbox: async ({ config }) => {
      calls.push("runPodSandbox");
      const sandbox = { id: id(), config: config ?? {}, createdAt: now(), ready: true };
      sandboxes.set(sandbox.id, sandbox);
      return message({ podSandboxId: sandbox.id });
    },
    stopPodSandbox: async ({ podSandboxId }) => {
      calls.push("stopPodSandbox");
      const sandbox = sandboxes.get(podSandboxId ?? "");
      if (sandbox) sandbox.ready = false;
      for (const container of containers.values()) if (container.sandboxId === podSandboxId) end(container, 137);
      return message({});
    },
    removePodSandbox: async ({ podSandboxId }) => {
      calls.push("removePodSandbox");
      sandboxes.delete(podSandboxId ?? "");
      for (const container of containers.values())
        if (container.sandboxId === podSandboxId) containers.delete(container.id);
      return message({});
    },
    podSandboxStatus: async ({ podSandboxId }) => {
      const sandbox = sandboxes.get(podSandboxId ?? "");
      if (!sandbox) throw missing("sandbox");
      return message({
        status: {
          id: sandbox.id,
          metadata: sandbox.config.metadata,
          state: sandbox.ready ? 0 : 1,
          createdAt: sandbox.createdAt,
          network: { ip: fake.podIp, additionalIps: [] },
          labels: sandbox.config.labels,
          annotations: sandbox.config.annotations,
        },
        info: {},
      });
    },
    listPodSandbox: async ({ filter }) =>
      message({
        items: [...sandboxes.values()]
          .filter(({ config }) => wanted(config.labels, filter as never))
          .map(({ id, config, ready, createdAt }) => ({
            id,
            metadata: config.metadata,
            labels: config.labels ?? {},
            annotations: config.annotations ?? {},
            state: ready ? 0 : 1,
            createdAt,
          })),
      }),
    updatePodSandboxResources: async () => message({}),

    createContainer: async (request) => {
      const { config } = request;
      calls.push(`createContainer ${config?.metadata?.name}`);
      fake.created.push(request);
      fake.onCreate(request);
      const twin = [...containers.values()].find(
        (one) =>
          one.sandboxId === request.podSandboxId &&
          nameOf(one) === config?.metadata?.name &&
          one.request.config?.metadata?.attempt === config?.metadata?.attempt,
      );
      if (twin) throw status("UNKNOWN", `failed to reserve container name: name is reserved for "${twin.id}"`);
      const container: FakeContainer = {
        id: id(),
        sandboxId: request.podSandboxId ?? "",
        request,
        state: "created",
        exitCode: 0,
        createdAt: now(),
        startedAt: 0n,
        finishedAt: 0n,
      };
      containers.set(container.id, container);
      return message({ containerId: container.id });
    },
    startContainer: async ({ containerId }) => {
      const container = containerOf(containerId);
      calls.push(`startContainer ${nameOf(container)}`);
      container.state = "running";
      container.startedAt = now();
      return message({});
    },
    stopContainer: async ({ containerId, timeout }) => {
      const container = containers.get(containerId ?? "");
      if (!container) return message({});
      calls.push(`stopContainer ${nameOf(container)}`);
      fake.stops.push({ name: nameOf(container), timeout: Number(timeout ?? 0n) });
      end(container, 143);
      return message({});
    },
    removeContainer: async ({ containerId }) => {
      containers.delete(containerId ?? "");
      return message({});
    },
    listContainers: async ({ filter }) =>
      message({
        containers: [...containers.values()]
          .filter(({ request }) => wanted(request.config?.labels, filter as never))
          .map((container) => ({
            id: container.id,
            podSandboxId: container.sandboxId,
            metadata: container.request.config?.metadata,
            labels: container.request.config?.labels ?? {},
            annotations: container.request.config?.annotations ?? {},
            state: ["created", "running", "exited"].indexOf(container.state),
            createdAt: container.createdAt,
          })),
      }),
    containerStatus: async ({ containerId }) => {
      const container = containerOf(containerId);
      const { config } = container.request;
      const image = byName(config?.image?.image ?? "");
      return message({
        status: {
          id: container.id,
          metadata: config?.metadata,
          state: ["created", "running", "exited"].indexOf(container.state),
          createdAt: container.createdAt,
          startedAt: container.startedAt,
          finishedAt: container.finishedAt,
          exitCode: container.exitCode,
          image: {
            image: config?.image?.userSpecifiedImage ?? "",
            annotations: {},
            userSpecifiedImage: "",
            imageRef: "",
          },
          imageRef: image?.repoDigests?.[0] ?? config?.image?.image ?? "",
          reason: "",
          message: "",
          labels: config?.labels ?? {},
          annotations: config?.annotations ?? {},
          mounts: config?.mounts ?? [],
          logPath: `/dev/null`,
        },
        info: {},
      });
    },
    updateContainerResources: async () => message({}),
    reopenContainerLog: async ({ containerId }) => {
      calls.push(`reopenContainerLog ${nameOf(containerOf(containerId))}`);
      return message({});
    },
    checkpointContainer: async () => message({}),

    execSync: async ({ containerId, cmd }) => {
      const container = containerOf(containerId);
      calls.push(`execSync ${nameOf(container)} ${(cmd ?? []).join(" ")}`);
      const { exitCode, stdout = "" } = await fake.onExec(cmd ?? [], nameOf(container));
      return message({ exitCode, stdout: Buffer.from(stdout), stderr: Buffer.alloc(0) });
    },
    exec: async () => message({ url: "" }),
    attach: async () => message({ url: "" }),
    portForward: async () => message({ url: "" }),

    containerStats: async () => message({}),
    listContainerStats: async () => message({ stats: [] }),
    podSandboxStats: async () => message({}),
    listPodSandboxStats: async () => message({ stats: [] }),
    getContainerEvents: async function* () {},
  };
  return fake;
}
