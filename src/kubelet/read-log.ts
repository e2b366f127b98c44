import { watch } from "node:fs";
import { open, readdir, type FileHandle } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { createGunzip } from "node:zlib";
import { createReadStream } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parseLogLine } from "./container-log.ts";

export interface LogOptions {
  readonly follow?: boolean | undefined;
  readonly tailLines?: number | undefined;
  /** Lines before this moment are left out. Milliseconds since the epoch. */
  readonly since?: number | undefined;
  readonly timestamps?: boolean | undefined;
  readonly limitBytes?: number | undefined;
  readonly stream?: "stdout" | "stderr" | undefined;
  readonly signal?: AbortSignal | undefined;
  /** While following: false ends it once everything was read. */
  readonly isRunning?: (() => Promise<boolean>) | undefined;
}

const CHUNK = 64 << 10;
const POLL_MS = 1000;

/** The text of a container's log file in CRI's format, rotated-away predecessors included where the start asks for them. */
export async function* readLog(path: string, options: LogOptions): AsyncGenerator<Buffer> {
  let left = options.limitBytes ?? Number.POSITIVE_INFINITY;
  let startsLine = true;
  for await (const raw of rawLines(path, options)) {
    const line = parseLogLine(raw);
    if (!line) continue;
    if (options.stream && line.stream !== options.stream) continue;
    if (options.since !== undefined && Date.parse(line.time) < options.since) continue;
    const parts = [
      ...(options.timestamps && startsLine ? [Buffer.from(`${line.time} `)] : []),
      line.text,
      ...(line.partial ? [] : [NEWLINE]),
    ];
    startsLine = !line.partial;
    const text = Buffer.concat(parts).subarray(0, Math.min(left, MAX_TEXT));
    if (text.length === 0) return;
    left -= text.length;
    yield text;
    if (left <= 0) return;
  }
}

const NEWLINE = Buffer.from("\n");
const MAX_TEXT = 2 ** 31;

async function* rawLines(path: string, options: LogOptions): AsyncGenerator<Buffer> {
  let file = await open(path, "r");
  try {
    let at = 0;
    if (options.tailLines !== undefined) at = await tailOffset(file, options.tailLines);
    else for (const old of await rotated(path)) yield* linesOf(old);
    let rest = Buffer.alloc(0);
    while (!options.signal?.aborted) {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(CHUNK), 0, CHUNK, at);
      at += bytesRead;
      if (bytesRead > 0) {
        const chunk = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
        let from = 0;
        for (let end = chunk.indexOf(0x0a); end >= 0; end = chunk.indexOf(0x0a, from)) {
          yield chunk.subarray(from, end);
          from = end + 1;
        }
        rest = Buffer.from(chunk.subarray(from));
        continue;
      }
      if (!options.follow) break;
      const next = await successor(path, file);
      if (next) {
        await file.close();
        file = next;
        at = 0;
        rest = Buffer.alloc(0);
        continue;
      }
      const running = options.isRunning ? await options.isRunning() : true;
      const { size } = await file.stat();
      if (size > at) continue;
      if (!running) break;
      await changed(path, options.signal);
    }
    if (rest.length > 0) yield rest;
  } finally {
    await file.close();
  }
}

/** Where the last `lines` whole lines of the file begin; partial lines count with the line they belong to. */
async function tailOffset(file: FileHandle, lines: number): Promise<number> {
  const { size } = await file.stat();
  if (lines <= 0) return size;
  let start = size;
  let tail = Buffer.alloc(0);
  while (start > 0) {
    const length = Math.min(CHUNK, start);
    start -= length;
    const { buffer } = await file.read(Buffer.alloc(length), 0, length, start);
    tail = Buffer.concat([buffer, tail]);
    const offset = lastLines(tail, lines, start === 0);
    if (offset !== undefined) return start + offset;
  }
  return 0;
}

function lastLines(bytes: Buffer, wanted: number, whole: boolean): number | undefined {
  let count = 0;
  let end = bytes.length;
  while (end > 0) {
    const start = bytes.lastIndexOf(0x0a, end - 2) + 1;
    if (start === 0 && !whole) return undefined;
    const line = parseLogLine(bytes.subarray(start, end - 1));
    // A full line ends a logical one; the partial lines before it belong to it.
    if (!line?.partial) count++;
    if (count > wanted) return end;
    end = start;
  }
  return whole ? 0 : undefined;
}

/** Rotated files of a log, the oldest first: `0.log.20260102-150405`, compressed or not. */
async function rotated(path: string): Promise<string[]> {
  const names = await readdir(dirname(path)).catch(() => []);
  const prefix = `${basename(path)}.`;
  return names
    .filter((name) => name.startsWith(prefix) && !name.endsWith(".tmp"))
    .sort()
    .map((name) => join(dirname(path), name));
}

async function* linesOf(path: string): AsyncGenerator<Buffer> {
  const source = createReadStream(path);
  const stream = path.endsWith(".gz") ? source.pipe(createGunzip()) : source;
  let rest = Buffer.alloc(0);
  for await (const piece of stream) {
    const chunk = Buffer.concat([rest, piece as Buffer]);
    let from = 0;
    for (let end = chunk.indexOf(0x0a); end >= 0; end = chunk.indexOf(0x0a, from)) {
      yield chunk.subarray(from, end);
      from = end + 1;
    }
    rest = Buffer.from(chunk.subarray(from));
  }
  if (rest.length > 0) yield rest;
}

/** The file that took this one's name, when the log was rotated. */
async function successor(path: string, file: FileHandle): Promise<FileHandle | undefined> {
  const next = await open(path, "r").catch(() => undefined);
  if (!next) return undefined;
  if ((await next.stat()).ino !== (await file.stat()).ino) return next;
  await next.close();
  return undefined;
}

/** Resolves when the log's directory changed, or after a second: whether its container still runs must be asked anyway. */
async function changed(path: string, signal: AbortSignal | undefined): Promise<void> {
  const done = new AbortController();
  const stop = signal ? AbortSignal.any([signal, done.signal]) : done.signal;
  const watcher = watch(dirname(path), { persistent: false });
  try {
    const event = new Promise<void>((resolve) => {
      watcher.once("change", () => resolve());
      watcher.once("error", () => resolve());
    });
    await Promise.race([event, sleep(POLL_MS, undefined, { signal: stop }).catch(() => undefined)]);
  } finally {
    done.abort();
    watcher.close();
  }
}
