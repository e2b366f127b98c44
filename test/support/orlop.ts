import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startRegistry } from "./docker-registry.ts";

const root = join(import.meta.dirname, "../..");
const bin = join(root, "bin/orlop");

export interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs a program to its end. Never throws for what the program does. */
export function ran(
  words: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv; input?: string } = {},
): Ran {
  const [program = "", ...args] = words;
  const result = spawnSync(program, args, { encoding: "utf8", timeout: 120_000, maxBuffer: 1 << 28, ...options });
  if (result.error !== undefined) throw result.error;
  return { code: result.status, out: result.stdout, err: result.stderr };
}

/** `orlop …` as a user calls it. */
export function orlop(...args: readonly string[]): Ran {
  return ran([bin, ...args]);
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  await new Promise((done) => server.close(done));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** Polls until `ready` returns something; fails with `what` after `seconds`. */
export async function until<T>(
  what: string,
  ready: () => T | undefined | Promise<T | undefined>,
  seconds = 60,
): Promise<T> {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const value = await ready();
    if (value !== undefined && value !== false) return value;
    if (Date.now() > deadline) throw new Error(`not within ${seconds} s: ${what}`);
    await sleep(50);
  }
}

/** A temporary world: directories of its own, a registry with the three objects of the quickstart, and a certs.d to it. */
export interface World extends AsyncDisposable {
  readonly dir: string;
  readonly runDir: string;
  readonly certsDir: string;
  readonly registry: string;
  /** --data-dir, --run-dir and --certs-dir for one node of this world. */
  places(node?: string): readonly string[];
  /** Writes a file below the world's directory and returns its path. */
  file(path: string, content: string | Uint8Array, mode?: number): string;
}

export async function createWorld(): Promise<World> {
  const dir = mkdtempSync("/tmp/orlop-world-");
  const runDir = mkdtempSync("/run/orlop-");
  const certsDir = join(dir, "certs.d");
  const registry = await startRegistry();
  const file = (path: string, content: string | Uint8Array, mode = 0o644): string => {
    const whole = join(dir, path);
    mkdirSync(dirname(whole), { recursive: true });
    writeFileSync(whole, content, { mode });
    return whole;
  };
  for (const host of ["registry.k8s.io", "quay.io"])
    file(
      `certs.d/${host}/hosts.toml`,
      `server = "${registry.url}"\n[host."${registry.url}"]\n  capabilities = ["pull", "resolve", "push"]\n`,
    );
  return {
    dir,
    runDir,
    certsDir,
    registry: registry.url,
    file,
    places: (node = "n") => ["--data-dir", join(dir, node), "--run-dir", join(runDir, node), "--certs-dir", certsDir],
    async [Symbol.asyncDispose]() {
      await registry.stop();
      rmSync(dir, { recursive: true, force: true });
      rmSync(runDir, { recursive: true, force: true });
    },
  };
}

export const WORKLOAD = "registry.k8s.io/e2e-test-images/echoserver:2.3";
export const PAUSE = "registry.k8s.io/pause:3.10";
export const ARTIFACT = "quay.io/crio/artifact:v1";

/** Pushes the workload image, the pause image and the two-file artifact, with `orlop push`. */
export function pushObjects(world: World): void {
  const workload = join(world.dir, "content/workload");
  for (const dir of ["bin", "etc", "tmp", "proc", "sys", "dev"]) mkdirSync(join(workload, dir), { recursive: true });
  copyFileSync("/bin/busybox", join(workload, "bin/busybox"));
  for (const applet of ran(["/bin/busybox", "--list"]).out.trim().split("\n"))
    if (applet !== "busybox") symlinkSync("busybox", join(workload, "bin", applet));
  writeFileSync(join(workload, "etc/passwd"), "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n");
  writeFileSync(join(workload, "etc/group"), "root:x:0:\nnobody:x:65534:\n");
  const pause = join(world.dir, "content/pause");
  mkdirSync(pause, { recursive: true });
  const catatonit = ["/usr/bin/catatonit", "/usr/libexec/podman/catatonit"].find((path) => existsSync(path));
  copyFileSync(catatonit ?? "/usr/bin/catatonit", join(pause, "pause"));
  world.file("content/artifact/dir/file", "1\n");
  world.file("content/artifact/file", "2\n");

  const idle = "trap 'exit 0' TERM; while :; do sleep 3600 & wait; done";
  const push = (...args: string[]): void => {
    const result = ran([bin, "push", ...world.places(), ...args], { cwd: join(world.dir, "content/artifact") });
    if (result.code !== 0) throw new Error(`orlop push ${args.at(-1) ?? ""}: ${result.err}`);
  };
  push("--image", "--entrypoint", "/bin/sh", "--cmd=-c", "--cmd", idle, "--env", "PATH=/bin", workload, WORKLOAD);
  push("--image", "--entrypoint", "/pause", "--cmd=-P", pause, PAUSE);
  push("dir", "file", ARTIFACT);
}

/** An `orlop up` that is Ready. */
export interface Up extends AsyncDisposable {
  readonly child: ChildProcess;
  readonly kubeconfig: string;
  readonly log: () => string;
  kubectl(...args: readonly string[]): Ran;
  /** Ends it in order, with SIGTERM. */
  stop(): Promise<void>;
  /** As a crash would: SIGKILL. */
  kill(): Promise<void>;
}

export async function startUp(
  world: World,
  options: { node?: string; args?: readonly string[]; kubectl?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<Up> {
  const node = options.node ?? "n";
  const kubeconfig = join(world.dir, `${node}.kubeconfig`);
  const log = join(world.dir, `${node}.log`);
  const fd = openSync(log, "a");
  const read = (): string => readFileSync(log, "utf8");
  const before = read().length;
  const args = [
    "up",
    ...world.places(node),
    "--kubeconfig",
    kubeconfig,
    "--node-name",
    node,
    "--port",
    String(await freePort()),
  ];
  const child = spawn(bin, [...args, ...(options.args ?? [])], {
    stdio: ["ignore", fd, fd],
    detached: true,
    ...(options.env === undefined ? {} : { env: options.env }),
  });
  const ended = once(child, "exit");
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    await ended;
  };
  await until(`orlop up is Ready:\n${read()}`, () => {
    if (child.exitCode !== null) throw new Error(`orlop up ended with ${child.exitCode}:\n${read()}`);
    return read().slice(before).includes("Ready") || undefined;
  }).catch(async (error: unknown) => {
    await end("SIGTERM");
    throw error;
  });
  return {
    child,
    kubeconfig,
    log: read,
    kubectl: (...words) => ran([options.kubectl ?? "kubectl", "--kubeconfig", kubeconfig, ...words]),
    stop: () => end("SIGTERM"),
    kill: () => end("SIGKILL"),
    [Symbol.asyncDispose]: () => end("SIGTERM"),
  };
}

/** The mounts, processes, and network interfaces that carry this world's name. */
export function leftovers(world: World): string[] {
  const ours = (line: string): boolean => line.includes(world.runDir) || line.includes(world.dir);
  const mounts = readFileSync("/proc/self/mountinfo", "utf8").split("\n").filter(ours);
  const processes = ran(["ps", "-eo", "pid,args"])
    .out.split("\n")
    .filter((line) => ours(line) && !line.includes("docker-registry"));
  return [...mounts, ...processes];
}
