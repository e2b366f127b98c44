import { open, type FileHandle } from "node:fs/promises";
import type { Writable } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { Failure, errnoOf, messageOf } from "#base";
import type { Inflated, InflateJob } from "./digest-job.ts";
import type { GrowingFile } from "./growing-file.ts";
import { ZstdFrames } from "./zstd-frames.ts";

/** Plain bytes that are handed on at once. Smaller pieces cost more time than they save memory. */
const CHUNK = 1024 * 1024;
/** Bytes. */
const SYNC_EVERY = 64 * 1024 * 1024;
/** Chunks are read one by one, as they are: a stream of bytes would copy them together. */
const STREAM = { chunkSize: CHUNK, readableObjectMode: true, readableHighWaterMark: 2 };

/**
 * Writes what is in the compressed file to the job's, and has it on disk when it returns.
 *
 * @throws Failure TOO_LARGE, NO_SPACE, CANCELLED; errors of the disk
 */
export async function inflateFile(
  job: InflateJob,
  compressed: GrowingFile,
  onWritten: (bytes: number) => void,
): Promise<Inflated> {
  const plain = await PlainFile.create(job, onWritten);
  const stream = job.compression === "gzip" ? createGunzip(STREAM) : createZstdDecompress(STREAM);
  // Whoever reads the stream is told what is wrong, and may have left.
  stream.on("error", () => undefined);
  const fed = feed(stream, compressed, job.compression).catch((error: Error) => void stream.destroy(error));
  try {
    await plain.fill(stream);
    return { size: await plain.finish() };
  } catch (error) {
    if (isZlib(error)) return { unreadable: messageOf(error) };
    throw error;
  } finally {
    compressed.cancel();
    stream.destroy();
    await fed;
    await plain.close();
  }
}

/** Ends early where the stream does: it may leave the bytes it broke on without an answer. */
async function feed(stream: Writable, file: GrowingFile, compression: InflateJob["compression"]): Promise<void> {
  const frames = compression === "zstd" ? new ZstdFrames() : undefined;
  const closed = new Promise<void>((resolve) => stream.once("close", resolve));
  for await (const chunk of file.chunks())
    for (const piece of frames?.split(chunk) ?? [chunk]) {
      await Promise.race([taken(stream, piece), closed]);
      if (stream.destroyed) return;
    }
  stream.end();
}

/** Resolves when the stream no longer needs the bytes of `piece`, so that their buffer may be used again. */
function taken(stream: Writable, piece: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(piece, (error) => (error == null ? resolve() : reject(error)));
  });
}

function isZlib(error: unknown): boolean {
  return /^(?:Z_|ZSTD_|ERR_ZLIB|ERR_ZSTD)/.test(errnoOf(error) ?? "");
}

/** Where the plain bytes go: one chunk is written while the next is inflated. */
class PlainFile {
  readonly #file: FileHandle;
  readonly #job: InflateJob;
  readonly #onWritten: (bytes: number) => void;
  #size = 0;
  #synced = 0;
  #writing: Promise<void> = Promise.resolve();
  #syncing: Promise<void> | undefined;
  /** Linux says once that written bytes were lost: the next flush would succeed. */
  #failure: { readonly error: unknown } | undefined;

  private constructor(file: FileHandle, job: InflateJob, onWritten: (bytes: number) => void) {
    this.#file = file;
    this.#job = job;
    this.#onWritten = onWritten;
  }

  static async create(job: InflateJob, onWritten: (bytes: number) => void): Promise<PlainFile> {
    return new PlainFile(await open(job.to, "w", 0o600), job, onWritten);
  }

  async fill(stream: AsyncIterable<Buffer>): Promise<void> {
    const { limit, room } = this.#job;
    for await (const chunk of stream) {
      if (this.#size + chunk.length > limit)
        throw new Failure(
          "RESOURCE_EXHAUSTED",
          "TOO_LARGE",
          `it inflates to more than ${limit} bytes, which is out of all proportion; it is refused as a bomb`,
        );
      if (this.#size + chunk.length > room)
        throw new Failure(
          "RESOURCE_EXHAUSTED",
          "NO_SPACE",
          `its plain bytes need more than the ${room} that are free on disk; free some space or prune`,
        );
      await this.#writing;
      this.#throwFailure();
      this.#writing = this.#kept(this.#write(chunk, this.#size));
      this.#size += chunk.length;
      if (this.#size - this.#synced >= SYNC_EVERY) this.#syncSoon();
    }
  }

  /** Everything is on disk when this returns the size, in bytes. */
  async finish(): Promise<number> {
    await Promise.all([this.#writing, this.#syncing]);
    this.#throwFailure();
    await this.#file.datasync();
    return this.#size;
  }

  async close(): Promise<void> {
    await Promise.all([this.#writing, this.#syncing]);
    await this.#file.close();
  }

  async #write(chunk: Buffer, from: number): Promise<void> {
    for (let at = 0; at < chunk.length;)
      at += (await this.#file.write(chunk, at, chunk.length - at, from + at)).bytesWritten;
    this.#onWritten(from + chunk.length);
    release(chunk);
  }

  /** Keeps the disk busy while the decompressor is, so that the last flush is short. */
  #syncSoon(): void {
    if (this.#syncing !== undefined) return;
    this.#synced = this.#size;
    this.#syncing = this.#kept(this.#file.datasync()).finally(() => {
      this.#syncing = undefined;
    });
  }

  /** Never rejects: whoever asks next is told. */
  #kept(work: Promise<void>): Promise<void> {
    return work.catch((error: unknown) => {
      this.#failure ??= { error };
    });
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}

/**
 * Frees the memory of a chunk that is done with, now and not when the garbage collector finds it. A decompressor goes on filling
 * the buffer of its last chunk, unless the chunk reaches to its end.
 */
function release({ buffer, byteOffset, byteLength }: Buffer): void {
  if (buffer.byteLength === CHUNK && byteOffset + byteLength === CHUNK) (buffer as ArrayBuffer).transfer(0);
}
