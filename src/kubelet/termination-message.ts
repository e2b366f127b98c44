import { open } from "node:fs/promises";
import { ANNOTATIONS } from "./cri.ts";
import type { ContainerView } from "./pod-view.ts";
import { parseLogLine } from "./container-log.ts";

const MAX_BYTES = 4096;
const LOG_BYTES = 2048;
const LOG_LINES = 80;

/** What a container left as its last words: its termination file, or by policy the end of its log. */
export async function terminationMessage({ status }: ContainerView): Promise<string> {
  const file = status.annotations[ANNOTATIONS.terminationMessageFile];
  const written = file ? await tail(file, MAX_BYTES, true) : "";
  if (written !== "") return written;
  const policy = status.annotations[ANNOTATIONS.terminationMessagePolicy];
  if (policy === "FallbackToLogsOnError" && status.exitCode !== 0 && status.logPath !== "") {
    const lines = (await tail(status.logPath, 4 * LOG_BYTES, false)).split("\n").slice(-LOG_LINES - 1);
    const text = lines
      .map((line) => parseLogLine(Buffer.from(line)))
      .filter((line) => line !== undefined)
      .map((line) => line.text.toString("utf8") + (line.partial ? "" : "\n"))
      .join("");
    return text.slice(-LOG_BYTES);
  }
  return status.message;
}

async function tail(path: string, bytes: number, fromStart: boolean): Promise<string> {
  try {
    await using file = await open(path, "r");
    const { size } = await file.stat();
    const at = fromStart ? 0 : Math.max(0, size - bytes);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(Math.min(bytes, size)), 0, Math.min(bytes, size), at);
    return buffer.subarray(0, bytesRead).toString("utf8");
  } catch {
    // Removed with the container's directory: then there is no message.
    return "";
  }
}
