import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure, isFailure, messageOf, type Log } from "#base";
import { checkSocketPath, createCriClient, cri, refuseUsedSocket } from "#wire";
import { masquerade, raiseBridge, removeNetwork, writeNetwork, type NetworkOptions } from "./cni.ts";
import { containerdConfig } from "./containerd-config.ts";
import { endDetached, isAlive, readDetached, startDetached, type Detached } from "./detached.ts";
import { requireProgram, searchPath } from "./programs.ts";

export interface ContainerdOptions {
  /** Images and containers are kept in `containerd` below it. */
  readonly dataDir: string;
  /** Socket, pid file, log and the state of running containers are kept in it. */
  readonly runDir: string;
  /** A containerd `certs.d` directory: which host stands for which registry. */
  readonly certsDir?: string | undefined;
  readonly sandboxImage: string;
  /** Where the CNI plugins are. Absent: where Debian, Kubernetes or Fedora put them. */
  readonly cniBinDir?: string;
  readonly log: Log;
}

export interface Containerd extends AsyncDisposable {
  readonly socket: string;
  /** The address under which Pods reach this machine. */
  readonly gateway: string;
  /** Of the process that runs now: when one dies, another takes its place. */
  readonly pid: number;
  /**
   * Ends containerd and removes its Pod network, once no sandbox runs any more; those that merely lie there are removed.
   * True if it ended. While sandboxes run it goes on, and the next start takes it over. Disposal does the same.
   */
  stop(): Promise<boolean>;
}

/** How long containerd may take until its CRI answers. Milliseconds. A slow disk needs seconds; a broken start ends by itself. */
const PATIENCE = 60_000;
/** A log that grew beyond it is put aside at the next start. Bytes. */
const LOG_LIMIT = 16 * 1024 * 1024;
/** Between two looks whether it lives. Milliseconds. */
const WATCH = 1000;

/**
 * Starts a containerd of our own, or takes over the one that an earlier Orlop with the same directories left running. It is
 * detached, so that containers and their streams survive us. A living one with another configuration is restarted, which
 * containers do not notice.
 *
 * @throws Failure PROGRAM_MISSING, SOCKET_PATH_TOO_LONG, SOCKET_IN_USE, CONTAINERD_FAILED quoting its log.
 */
export async function startContainerd(options: ContainerdOptions): Promise<Containerd> {
  const { runDir, log } = options;
  const socket = checkSocketPath(join(runDir, "containerd.sock"));
  checkSocketPath(`${socket}.ttrpc`);
  for (const [program, name] of PROGRAMS) requireProgram(program, name);
  const configFile = join(runDir, "containerd.toml");
  const pidFile = join(runDir, "containerd.pid");
  const logFile = join(runDir, "containerd.log");
  mkdirSync(runDir, { recursive: true, mode: 0o711 });
  mkdirSync(options.dataDir, { recursive: true, mode: 0o711 });

  const network: NetworkOptions = {
    runDir,
    dataDir: options.dataDir,
    confDir: join(runDir, "cni"),
    binDir: options.cniBinDir ?? cniPlugins(),
  };
  const written = writeNetwork(network);
  await masquerade(written);
  const config = containerdConfig({ ...options, socket, cniConfDir: network.confDir, cniBinDir: network.binDir });
  let running = readDetached(pidFile);
  if (running && contentOf(configFile) !== config) {
    log.info({ pid: running.pid }, "restarting containerd with a new configuration");
    await endDetached(running, pidFile);
    running = undefined;
  }
  if (running) log.info({ pid: running.pid }, "took over the containerd that was running");
  else writeFileSync(configFile, config, { mode: 0o600 });
  const start = async (): Promise<Detached> => {
    await refuseUsedSocket(socket);
    if (sizeOf(logFile) > LOG_LIMIT) renameSync(logFile, `${logFile}.1`);
    const logStart = sizeOf(logFile);
    const started = await startDetached({
      command: "containerd",
      packageName: "containerd",
      args: ["--config", configFile],
      env: environment(),
      logFile,
      pidFile,
    });
    return await ready(socket, started, logFile, logStart, pidFile);
  };
  let current = running ? await ready(socket, running, logFile, 0, pidFile) : await start();
  const gateway = await raiseBridge(written);

  const ending = new AbortController();
  const watching = watch(
    () => current,
    async () => void (current = await start()),
    log,
    ending.signal,
  );
  const stop = async (): Promise<boolean> => {
    const sandboxes = await idle(socket, current, log);
    if (sandboxes === "running") return false;
    ending.abort();
    await watching;
    await endDetached(current, pidFile);
    for (const left of [socket, `${socket}.ttrpc`]) rmSync(left, { force: true });
    // Sandboxes that nobody could ask about may still use it.
    if (sandboxes === "none") await removeNetwork(network);
    return true;
  };
  return {
    socket,
    gateway,
    get pid() {
      return current.pid;
    },
    stop,
    [Symbol.asyncDispose]: async () => {
      if (!(await stop())) ending.abort();
      await watching;
    },
  };
}

/** Starts it again when it dies: containers live on without it, but nobody could reach them. */
async function watch(
  current: () => Detached,
  restart: () => Promise<void>,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  for (let wait = WATCH; ;) {
    await sleep(wait, undefined, { signal, ref: false }).catch(() => {});
    if (signal.aborted) return;
    if (isAlive(current())) {
      wait = WATCH;
      continue;
    }
    log.warn({ pid: current().pid }, "containerd died: starting it again");
    try {
      await restart();
    } catch (error) {
      wait = Math.min(wait * 2, 60_000);
      log.error({ error: messageOf(error) }, "containerd could not be started again");
    }
  }
}

async function ready(
  socket: string,
  running: Detached,
  logFile: string,
  from: number,
  pidFile: string,
): Promise<Detached> {
  using client = createCriClient(socket);
  const until = Date.now() + PATIENCE;
  let last: unknown;
  while (isAlive(running) && Date.now() < until) {
    try {
      await client.version({}, { timeout: 2000 });
      return running;
    } catch (error) {
      last = error;
      // It serves, and its CRI plugin is not among what it serves: waiting does not mend that.
      if (isFailure(error) && error.code === "UNIMPLEMENTED") break;
      await sleep(50);
    }
  }
  const why = isAlive(running) ? `its CRI does not answer: ${messageOf(last)}` : "it ended at once";
  await endDetached(running, pidFile);
  const said = await reasonIn(logFile, from);
  throw new Failure(
    "UNAVAILABLE",
    "CONTAINERD_FAILED",
    `containerd could not be started (${why})${said === undefined ? "" : `: ${said}`}; its log is ${logFile}`,
  );
}

/** What the last grave line of the log says. logfmt, as containerd writes it. */
async function reasonIn(logFile: string, from: number): Promise<string | undefined> {
  await using file = await open(logFile, "r");
  const { buffer, bytesRead } = await file.read(Buffer.alloc(256 * 1024), 0, 256 * 1024, from);
  const lines = buffer
    .toString("utf8", 0, bytesRead)
    .split("\n")
    .filter((line) => line.trim() !== "");
  const grave =
    lines.findLast((line) =>
      /level=(?:fatal|panic|error)|plugin io\.containerd\.grpc\.v1\.cri" error=|^(?:containerd|panic): /.test(line),
    ) ?? lines.at(-1);
  if (grave === undefined) return undefined;
  const field = (name: string): string | undefined => {
    const match = new RegExp(`\\b${name}=("(?:[^"\\\\]|\\\\.)*"|\\S+)`).exec(grave)?.[1];
    return match?.startsWith('"') ? (JSON.parse(match) as string) : match;
  };
  return [field("msg"), field("error")].filter((part) => part !== undefined).join(": ") || grave.trim();
}

/** Removes the sandboxes that merely lie there. `unknown` where nobody can say, since containerd is dead or deaf. */
async function idle(socket: string, current: Detached, log: Log): Promise<"none" | "running" | "unknown"> {
  if (!isAlive(current)) return "unknown";
  using client = createCriClient(socket);
  try {
    const { items } = await client.listPodSandbox({}, { timeout: 10_000 });
    const ready = items.filter(({ state }) => state === cri.PodSandboxState.SANDBOX_READY);
    if (ready.length > 0) {
      log.info({ sandboxes: ready.length, pid: current.pid }, "containerd goes on, since sandboxes run in it");
      return "running";
    }
    for (const { id } of items) await client.removePodSandbox({ podSandboxId: id }, { timeout: 60_000 });
    return "none";
  } catch (error) {
    log.warn({ error: messageOf(error) }, "containerd does not say what runs in it");
    return "unknown";
  }
}

const PROGRAMS = [
  ["containerd", "containerd"],
  ["containerd-shim-runc-v2", "containerd"],
  ["runc", "runc"],
] as const;

/** Not all of ours: a NOTIFY_SOCKET, for one, is not meant for it. */
function environment(): Record<string, string> {
  const passed = ["HOME", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];
  const names = [...passed, ...passed.map((name) => name.toLowerCase())];
  const own = names.map((name) => [name, process.env[name]] as const).filter(([, value]) => value !== undefined);
  return { ...(Object.fromEntries(own) as Record<string, string>), PATH: searchPath() };
}

function cniPlugins(): string {
  const usual = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];
  return usual.find((dir) => sizeOf(join(dir, "bridge")) > 0) ?? "/usr/lib/cni";
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

function contentOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
