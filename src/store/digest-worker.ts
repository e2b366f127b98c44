// Runs on a worker thread: hashes and inflates files behind their writer.
import { createHash, type Hash } from "node:crypto";
import { closeSync, fdatasync, openSync, readSync, writeSync } from "node:fs";
import { promisify } from "node:util";
import type { Writable } from "node:stream";
import { setImmediate as immediate } from "node:timers/promises";
import { parentPort } from "node:worker_threads";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { Failure, errnoOf, messageOf } from "#base";
import { finish } from "#oci";
import type { DigestJob, DigestResult, FromWorker, ToWorker } from "./digest-job.ts";
import { ZstdFrames } from "./zstd-frames.ts";

const CHUNK = 1024 * 1024;
/** Bytes. */
const SYNC_EVERY = 64 * 1024 * 1024;
/** Chunks are read one by one, as they are: a stream of bytes would copy them together. */
const STREAM = { chunkSize: CHUNK, readableObjectMode: true, readableHighWaterMark: 2 };

/** How far a file has come, as its writer tells. */
class Growth {
  #available = 0;
  #cancelled = false;
  #wake: (() => void) | undefined;

  advance(to: number): void {
    this.#available = Math.max(this.#available, to);
    this.#wake?.();
  }

  cancel(): void {
    this.#cancelled = true;
    this.#wake?.();
  }

  /** Waits until there is more than `at`, and says up to where. */
  async beyond(at: number): Promise<number> {
    while (this.#available <= at && !this.#cancelled)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    if (this.#cancelled) throw new Failure("CANCELLED", "CANCELLED", "nobody waits for this digest any more");
    return this.#available;
  }
}

const datasync = promisify(fdatasync);

const growths = new Map<number, Growth>();

parentPort?.on("message", (message: ToWorker) => {
  const growth = growths.get(message.id);
  if ("available" in message) growth?.advance(message.available);
  else if ("cancel" in message) growth?.cancel();
  else void start(message.id, message.job);
});

async function start(id: number, job: DigestJob): Promise<void> {
  const growth = new Growth();
  growths.set(id, growth);
  let answer: FromWorker;
  try {
    answer = { id, result: await (job.inflate === undefined ? digest(job, growth) : inflate(job, growth)) };
  } catch (error) {
    const code = error instanceof Failure ? error.code : errnoOf(error);
    const reason = error instanceof Failure ? { reason: error.reason } : {};
    answer = { id, error: { ...(code === undefined ? {} : { code }), ...reason, message: messageOf(error) } };
  }
  growths.delete(id);
  parentPort?.postMessage(answer);
}

async function digest(job: DigestJob, growth: Growth): Promise<DigestResult> {
  const hash = createHash(job.algorithm);
  const second = job.algorithm === "sha256" ? undefined : createHash("sha256");
  for await (const chunk of growing(job, growth)) {
    hash.update(chunk);
    second?.update(chunk);
  }
  const whole = finish(hash, job.algorithm);
  return { digest: whole, stored: second === undefined ? whole : finish(second), storedSize: job.size };
}

async function inflate(job: DigestJob, growth: Growth): Promise<DigestResult> {
  const { compression, to, limit, room } = job.inflate as NonNullable<DigestJob["inflate"]>;
  const hash = createHash(job.algorithm);
  const frames = compression === "zstd" ? new ZstdFrames() : undefined;
  const stream = compression === "gzip" ? createGunzip(STREAM) : createZstdDecompress(STREAM);
  const plain = new PlainFile(to, limit, room);
  const emptied = plain.fill(stream).then(
    () => undefined,
    (error: unknown) => ({ error }),
  );
  let broken: { readonly error: unknown } | undefined;
  try {
    for await (const chunk of growing(job, growth)) {
      hash.update(chunk);
      for (const piece of frames?.split(chunk) ?? [chunk])
        // Bytes that cannot be inflated are hashed to the end all the same: were they the right ones?
        broken ??= await Promise.race([taken(stream, piece), emptied]);
      if (broken !== undefined && !isZlib(broken.error)) throw broken.error;
    }
    stream.end();
    broken ??= await emptied;
    if (broken !== undefined && !isZlib(broken.error)) throw broken.error;
    const unreadable = broken === undefined ? {} : { unreadable: messageOf(broken.error) };
    return { digest: finish(hash, job.algorithm), ...(await plain.finish()), ...unreadable };
  } finally {
    stream.destroy();
    await plain.close();
  }
}

/** Resolves when the stream no longer needs the bytes of `piece`, so that their buffer may be used again. */
function taken(stream: Writable, piece: Uint8Array): Promise<undefined> {
  return new Promise((resolve) => {
    stream.write(piece, (error) => {
      // An error is reported by the reading side.
      if (error == null) resolve(undefined);
    });
  });
}

function isZlib(error: unknown): boolean {
  return /^(?:Z_|ZSTD_|ERR_ZLIB|ERR_ZSTD)/.test(errnoOf(error) ?? "");
}

/** Where the plain bytes of a compressed layer go: hashed and written while the next ones are inflated. */
class PlainFile {
  readonly #fd: number;
  readonly #limit: number;
  readonly #room: number;
  readonly #hash: Hash = createHash("sha256");
  #size = 0;
  #synced = 0;
  #syncing: Promise<void> | undefined;
  #syncError: unknown;

  constructor(path: string, limit: number, room: number) {
    this.#fd = openSync(path, "w", 0o600);
    this.#limit = limit;
    this.#room = room;
  }

  async fill(stream: AsyncIterable<Buffer>): Promise<void> {
    for await (const chunk of stream) {
      if (this.#size + chunk.length > this.#limit)
        throw new Failure(
          "RESOURCE_EXHAUSTED",
          "TOO_LARGE",
          `it inflates to more than ${this.#limit} bytes, which is out of all proportion; it is refused as a bomb`,
        );
      if (this.#size + chunk.length > this.#room)
        throw new Failure(
          "RESOURCE_EXHAUSTED",
          "NO_SPACE",
          `its plain bytes need more than the ${this.#room} that are free on disk; free some space or prune`,
        );
      this.#hash.update(chunk);
      for (let at = 0; at < chunk.length;) at += writeSync(this.#fd, chunk, at, chunk.length - at, this.#size + at);
      this.#size += chunk.length;
      release(chunk);
      if (this.#size - this.#synced >= SYNC_EVERY) this.#syncSoon();
    }
  }

  async finish(): Promise<Pick<DigestResult, "stored" | "storedSize">> {
    await this.#syncing;
    // Linux says once that written bytes were lost: the last flush would succeed.
    if (this.#syncError !== undefined) throw this.#syncError;
    await datasync(this.#fd);
    return { stored: finish(this.#hash), storedSize: this.#size };
  }

  async close(): Promise<void> {
    await this.#syncing;
    closeSync(this.#fd);
  }

  /** Keeps the disk busy while the decompressor is, so that the last flush is short. */
  #syncSoon(): void {
    if (this.#syncing !== undefined) return;
    this.#synced = this.#size;
    this.#syncing = datasync(this.#fd)
      .catch((error: unknown) => {
        this.#syncError = error;
      })
      .finally(() => {
        this.#syncing = undefined;
      });
  }
}

/**
 * Frees the memory of a chunk that is done with, now and not when the garbage collector finds it. A decompressor goes on filling
 * the buffer of its last chunk, unless the chunk reaches to its end.
 */
function release({ buffer, byteOffset, byteLength }: Buffer): void {
  if (buffer.byteLength === CHUNK && byteOffset + byteLength === CHUNK) (buffer as ArrayBuffer).transfer(0);
}

/** Buffers that no job uses now: fresh ones would be memory until the garbage collector comes. */
const buffers: Buffer[] = [];

/** The bytes of the file from its beginning to its end, each chunk as soon as its writer has written it, all in one buffer. */
async function* growing(job: DigestJob, growth: Growth): AsyncGenerator<Buffer> {
  if (job.size === 0) return;
  await growth.beyond(0);
  const fd = openSync(job.path, "r");
  const buffer = buffers.pop() ?? Buffer.allocUnsafeSlow(CHUNK);
  try {
    for (let at = 0; at < job.size;) {
      const until = Math.min(await growth.beyond(at), job.size, at + buffer.length);
      const length = readSync(fd, buffer, 0, until - at, at);
      if (length === 0) throw new Failure("DATA_LOSS", "FILE_VANISHED", `${job.path} lost bytes while it was read`);
      yield buffer.subarray(0, length);
      at += length;
      // Other files and messages have their turn.
      await immediate();
    }
  } finally {
    closeSync(fd);
    buffers.push(buffer);
  }
}
