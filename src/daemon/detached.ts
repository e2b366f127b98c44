import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure, errnoOf, messageOf } from "#base";
import { missingProgram } from "./programs.ts";

/** A process that outlives us, and how to know it again: a pid alone may be another's by tomorrow. */
export interface Detached {
  readonly pid: number;
  /** When it started, in clock ticks since boot: proc_pid_stat(5), field 22. */
  readonly started: string;
}

export interface DetachedCommand {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly logFile: string;
  readonly pidFile: string;
  /** The Debian package that brings the program, for the error when it is missing. */
  readonly packageName: string;
}

/** @throws Failure PROGRAM_MISSING */
export async function startDetached(what: DetachedCommand): Promise<Detached> {
  for (const file of [what.logFile, what.pidFile]) mkdirSync(dirname(file), { recursive: true });
  const log = openSync(what.logFile, "a", 0o600);
  try {
    const child = spawn(what.command, what.args, {
      detached: true,
      stdio: ["ignore", log, log],
      env: what.env,
      cwd: "/",
    });
    const pid = await new Promise<number>((resolve, reject) => {
      child.once("error", (cause) => reject(unstartable(what, cause)));
      child.once("spawn", () => resolve(child.pid ?? 0));
    });
    child.unref();
    const started = startTimeOf(pid) ?? "";
    writeFileSync(what.pidFile, JSON.stringify({ pid, started } satisfies Detached));
    return { pid, started };
  } finally {
    closeSync(log);
  }
}

function unstartable({ command, packageName }: DetachedCommand, cause: Error): Failure {
  return errnoOf(cause) === "ENOENT"
    ? missingProgram(command, packageName)
    : new Failure("INTERNAL", "START_FAILED", `cannot start ${command}: ${messageOf(cause)}`, { cause });
}

/** The process that a pid file names, if it still lives. */
export function readDetached(pidFile: string): Detached | undefined {
  try {
    const noted = JSON.parse(readFileSync(pidFile, "utf8")) as Detached;
    return isAlive(noted) ? noted : undefined;
  } catch {
    return undefined;
  }
}

export function isAlive(process: Detached): boolean {
  return startTimeOf(process.pid) === process.started;
}

/** SIGTERM, and SIGKILL when that is not heeded. Resolves when the process is gone. */
export async function endDetached(target: Detached, pidFile: string, graceMs = 10_000): Promise<void> {
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    const until = Date.now() + graceMs;
    if (isAlive(target)) process.kill(target.pid, signal);
    while (isAlive(target) && Date.now() < until) await sleep(20);
  }
  rmSync(pidFile, { force: true });
}

function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name in parentheses may hold anything, so count from the last one. A zombie is not alive.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? undefined : fields[19];
  } catch {
    return undefined;
  }
}
