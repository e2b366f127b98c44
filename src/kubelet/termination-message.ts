import { open } from "node:fs/promises";
import { errnoOf, messageOf } from "#base";
import { parseLogLine } from "./container-log.ts";
import { ANNOTATIONS } from "./cri.ts";
import type { ContainerView } from "./pod-view.ts";

const FILE_BYTES = 4096;
const LOG_BYTES = 2048;
const LOG_LINES = 80;
/** Holds the bytes that are wanted, with what stands before so many lines, and the longest line that a runtime writes. */
const LOG_TAIL = 24 * 1024;

/**
 * What a container left as its last words, after what the runtime says of its end: the end of its termination file, or by
 * policy that of its log.
 */
export async function terminationMessage({ status }: ContainerView): Promise<string> {
  const words = await lastWords(status);
  return [status.message, words].filter((part) => part !== "").join(": ");
}

async function lastWords(status: ContainerView["status"]): Promise<string> {
  const file = status.annotations[ANNOTATIONS.terminationMessageFile];
  try {
    const written = file ? await tail(file, FILE_BYTES) : Buffer.alloc(0);
    if (written.length > 0) return written.toString("utf8");
  } catch (error) {
    return `Error on reading termination log ${file}: ${messageOf(error)}`;
  }
  const policy = status.annotations[ANNOTATIONS.terminationMessagePolicy];
  const isWanted =
    policy === "FallbackToLogsOnError" && status.exitCode !== 0 && status.reason !== "ContainerCannotRun";
  if (!isWanted || status.logPath === "") return "";
  try {
    return await endOfLog(status.logPath);
  } catch (error) {
    return `Error on reading termination message from logs: ${messageOf(error)}`;
  }
}

/** The last lines, without what the runtime writes before each, and of these the last bytes. */
async function endOfLog(path: string): Promise<string> {
  const raw = await tail(path, LOG_TAIL);
  const lines = raw.toString("latin1").trimEnd().split("\n").slice(-LOG_LINES);
  const text = lines.flatMap((line) => {
    const parsed = parseLogLine(Buffer.from(line, "latin1"));
    return parsed ? [parsed.text, Buffer.from(parsed.partial ? "" : "\n")] : [];
  });
  return Buffer.concat(text).subarray(-LOG_BYTES).toString("utf8");
}

/** The end of a file; nothing where there is none, as when it was removed with the container's directory. */
async function tail(path: string, bytes: number): Promise<Buffer> {
  try {
    await using file = await open(path, "r");
    const { size } = await file.stat();
    const length = Math.min(bytes, size);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, size - length);
    return buffer.subarray(0, bytesRead);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return Buffer.alloc(0);
    throw error;
  }
}
