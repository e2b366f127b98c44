// A containerd with Orlop's CRI in front of it, in this process, over the world's registry.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { silent } from "#base";
import { startCri } from "#cri";
import type { Engine } from "#engine";
import { createCriClient, cri, type CriClient } from "#wire";
import { startContainerd, type Containerd } from "../../src/daemon/containerd.ts";
import { openEngine } from "../../src/daemon/engine.ts";
import { PAUSE, until, WORKLOAD, type World } from "./orlop.ts";

export interface CriNode extends AsyncDisposable {
  readonly engine: Engine;
  readonly containerd: Containerd;
  /** Through Orlop. */
  readonly client: CriClient;
  /** Past Orlop, to containerd itself. */
  readonly direct: CriClient;
  readonly runDir: string;
  /** Ends Orlop's endpoint and its engine, runs `meanwhile`, and starts them again. Containerd goes on. */
  restart(meanwhile?: () => Promise<void>): Promise<void>;
  /** A sandbox with these annotations; its id. */
  sandbox(name: string, annotations?: Record<string, string>, more?: Ports): Promise<string>;
  configOf(sandbox: string): SandboxInit;
  /** A running container of the workload image with these mounts; its id. */
  run(
    sandbox: string,
    name: string,
    mounts: readonly ImageMount[],
    annotations?: Record<string, string>,
  ): Promise<string>;
  /** As our kubelet does it: a volume's pull, then a mount by the id that it gave. */
  volume(reference: string, more?: Partial<ImageMount>): Promise<ImageMount>;
  /** What is mounted for volumes now: lines of mountinfo. */
  volumeMounts(): string[];
  /** Runs a shell command in a container: exit code and everything it printed. */
  sh(container: string, command: string): Promise<{ readonly code: number; readonly out: string }>;
}

interface Ports {
  readonly portMappings?: NonNullable<SandboxInit["portMappings"]>;
}
type SandboxInit = NonNullable<Parameters<CriClient["runPodSandbox"]>[0]["config"]>;

/** An image volume as a kubelet asks for it. */
export interface ImageMount {
  readonly containerPath: string;
  readonly readonly: boolean;
  readonly image: {
    readonly image: string;
    readonly userSpecifiedImage: string;
    readonly annotations: Record<string, string>;
  };
  readonly imageSubPath?: string;
  readonly mountOptions?: string[];
}

export async function startCriNode(world: World, node = "c"): Promise<CriNode> {
  const dataDir = join(world.dir, node);
  const runDir = join(world.runDir, node);
  mkdirSync(runDir, { recursive: true });
  await using stack = new AsyncDisposableStack();
  const containerd = await startContainerd({
    dataDir,
    runDir,
    certsDir: world.certsDir,
    sandboxImage: PAUSE,
    log: silent,
  });
  const cgroup = `/orlop-test-${process.pid}-${node}`;
  stack.defer(() => removeCgroup(cgroup));
  stack.defer(async () => {
    using client = createCriClient(containerd.socket);
    await removeAll(client).catch(() => {});
    await containerd.stop();
  });
  const direct = stack.use(createCriClient(containerd.socket));
  const listen = join(runDir, "cri.sock");
  const client = stack.use(createCriClient(listen));

  const start = async () => {
    await using parts = new AsyncDisposableStack();
    const engine = parts.use(await openEngine({ dataDir, runDir, certsDir: world.certsDir }, silent));
    parts.use(await startCri({ engine, listen, upstream: containerd.socket, runDir, log: silent }));
    return { engine, parts: parts.move() };
  };
  let running = await start();
  stack.defer(() => running.parts.disposeAsync());
  // A test may have ended containerd already.
  stack.defer(() => removeAll(client).catch(() => {}));
  await client.pullImage({ image: { image: WORKLOAD } });

  const sandboxes = new Map<string, SandboxInit>();
  const owned = stack.move();
  return {
    get engine() {
      return running.engine;
    },
    containerd,
    client,
    direct,
    runDir,
    async restart(meanwhile) {
      await running.parts.disposeAsync();
      await meanwhile?.();
      running = await start();
      await until("the endpoint answers again", () =>
        client
          .version({})
          .then(() => true)
          .catch(() => undefined),
      );
    },
    configOf: (sandbox) => sandboxes.get(sandbox) ?? {},
    async sandbox(name, annotations = {}, more = {}) {
      const config: SandboxInit = {
        metadata: { name, uid: name, namespace: "default", attempt: 0 },
        annotations,
        logDirectory: join(world.dir, "logs"),
        linux: { cgroupParent: cgroup },
        ...more,
      };
      const { podSandboxId } = await client.runPodSandbox({ config });
      sandboxes.set(podSandboxId, config);
      return podSandboxId;
    },
    async run(sandbox, name, mounts, annotations = {}) {
      const sandboxConfig = sandboxes.get(sandbox) ?? {};
      const { containerId } = await client.createContainer({
        podSandboxId: sandbox,
        sandboxConfig,
        config: {
          metadata: { name },
          image: { image: WORKLOAD },
          mounts: [...mounts],
          annotations,
          logPath: `${name}.log`,
        },
      });
      await client.startContainer({ containerId });
      return containerId;
    },
    async volume(reference, more = {}) {
      const annotations = { "orlop.dev/volume": "true" };
      const { imageRef } = await client.pullImage({ image: { image: reference, annotations } });
      return {
        containerPath: "/volume",
        readonly: true,
        image: { image: imageRef, userSpecifiedImage: reference, annotations: { "orlop.dev/volume-name": "v" } },
        ...more,
      };
    },
    volumeMounts: () =>
      readFileSync("/proc/self/mountinfo", "utf8")
        .split("\n")
        .filter((line) => line.includes(`${runDir}/volumes/`)),
    async sh(container, command) {
      const { exitCode, stdout, stderr } = await client.execSync({
        containerId: container,
        cmd: ["sh", "-c", command],
      });
      return { code: exitCode, out: Buffer.concat([stdout, stderr]).toString("utf8") };
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Stops and removes every sandbox. */
export async function removeAll(client: CriClient): Promise<void> {
  const { items } = await client.listPodSandbox({});
  for (const { id, state } of items) {
    if (state === cri.PodSandboxState.SANDBOX_READY) await client.stopPodSandbox({ podSandboxId: id });
    await client.removePodSandbox({ podSandboxId: id });
  }
}

/** In every hierarchy; only what is empty goes. */
function removeCgroup(name: string): void {
  for (const hierarchy of ["", ...readdirSync("/sys/fs/cgroup")]) {
    const dir = join("/sys/fs/cgroup", hierarchy, name);
    if (!existsSync(dir)) continue;
    const below = readdirSync(dir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isDirectory());
    for (const entry of below.toReversed()) rmdirSync(join(entry.parentPath, entry.name));
    rmdirSync(dir);
  }
}
