import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure, isFailure, messageOf, type Log } from "#base";
import { checkSocketPath, createCriClient } from "#wire";
import { removeNetwork, writeNetwork, type NetworkOptions } from "./cni.ts";
import { containerdConfig } from "./containerd-config.ts";
import { endDetached, isAlive, missingProgram, readDetached, startDetached, type Detached } from "./detached.ts";

export interface ContainerdOptions {
  /** Images and containers are kept in `containerd` below it. */
  readonly dataDir: string;
  /** Socket, pid file, log and the state of running containers are kept in it. */
  readonly runDir: string;
  /** A containerd `certs.d` directory: which host stands for which registry. */
  readonly certsDir?: string | undefined;
  readonly sandboxImage: string;
  /** Where the CNI plugins are. Absent: where Debian puts them. */
  readonly cniBinDir?: string;
  readonly log: Log;
}

export interface Containerd extends AsyncDisposable {
  readonly socket: string;
  readonly pid: number;
  /**
   * Ends containerd and removes its Pod network, once no sandbox runs any more; those that merely lie there are removed.
   * True if it ended. While sandboxes run it goes on, and the next start takes it over. Disposal does the same.
   */
  stop(): Promise<boolean>;
}

/** How long containerd may take until its CRI answers. Milliseconds. A slow disk needs seconds; a broken start ends by itself. */
const PATIENCE = 60_000;
const SBIN = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/**
 * Starts a containerd of our own, or takes over the one that an earlier Orlop with the same directories left running. It is
 * detached, so that containers and their streams survive us. A living one with another configuration is restarted, which
 * containers do not notice.
 *
 * @throws Failure PROGRAM_MISSING, SOCKET_PATH_TOO_LONG, CONTAINERD_FAILED quoting its log.
 */
export async function startContainerd(options: ContainerdOptions): Promise<Containerd> {
  const { runDir, log } = options;
  const socket = checkSocketPath(join(runDir, "containerd.sock"));
  checkSocketPath(`${socket}.ttrpc`);
  for (const [program, name] of PROGRAMS) if (!isInstalled(program)) throw missingProgram(program, name);
  const configFile = join(runDir, "containerd.toml");
  const pidFile = join(runDir, "containerd.pid");
  const logFile = join(runDir, "containerd.log");
  mkdirSync(runDir, { recursive: true, mode: 0o711 });

  const network: NetworkOptions = {
    runDir,
    dataDir: options.dataDir,
    confDir: join(runDir, "cni"),
    binDir: options.cniBinDir ?? "/usr/lib/cni",
  };
  writeNetwork(network);
  const config = containerdConfig({ ...options, socket, cniConfDir: network.confDir, cniBinDir: network.binDir });
  let running = readDetached(pidFile);
  if (running && contentOf(configFile) !== config) {
    log.info({ pid: running.pid }, "restarting containerd with a new configuration");
    await endDetached(running, pidFile);
    running = undefined;
  }
  const logStart = running ? 0 : sizeOf(logFile);
  if (!running) {
    writeFileSync(configFile, config, { mode: 0o600 });
    running = await startDetached({
      command: "containerd",
      args: ["--config", configFile],
      env: {
        PATH: `${process.env["PATH"] ?? ""}:${SBIN}`,
        ...(process.env["HOME"] ? { HOME: process.env["HOME"] } : {}),
      },
      logFile,
      pidFile,
      packageName: "containerd",
    });
  } else log.info({ pid: running.pid }, "took over the containerd that was running");
  await untilReady(socket, running, logFile, logStart, pidFile);
  const { pid } = running;
  const stop = async (): Promise<boolean> => {
    if (!(await endIfIdle(socket, running, pidFile, log))) return false;
    await removeNetwork(network);
    return true;
  };
  return { socket, pid, stop, [Symbol.asyncDispose]: async () => void (await stop()) };
}

async function untilReady(
  socket: string,
  running: Detached,
  logFile: string,
  from: number,
  pidFile: string,
): Promise<void> {
  using client = createCriClient(socket);
  const until = Date.now() + PATIENCE;
  let last: unknown;
  while (isAlive(running) && Date.now() < until) {
    try {
      await client.version({}, { timeout: 2000 });
      return;
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

async function endIfIdle(socket: string, running: Detached, pidFile: string, log: Log): Promise<boolean> {
  if (isAlive(running)) {
    using client = createCriClient(socket);
    const { items } = await client.listPodSandbox({}, { timeout: 10_000 }).catch(() => ({ items: [] }));
    const ready = items.filter(({ state }) => state === 0);
    if (ready.length > 0) {
      log.info({ sandboxes: ready.length, pid: running.pid }, "containerd goes on, since sandboxes run in it");
      return false;
    }
    for (const { id } of items) await client.removePodSandbox({ podSandboxId: id }, { timeout: 60_000 });
  }
  await endDetached(running, pidFile);
  return true;
}

const PROGRAMS = [
  ["containerd", "containerd"],
  ["containerd-shim-runc-v2", "containerd"],
  ["runc", "runc"],
] as const;

function isInstalled(program: string): boolean {
  const dirs = `${process.env["PATH"] ?? ""}:${SBIN}`.split(":");
  return dirs.some((dir) => dir !== "" && sizeOf(join(dir, program)) > 0);
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
