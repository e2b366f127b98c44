import { constants, readFileSync } from "node:fs";
import { open, rm, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { Failure, isFailure } from "#base";
import { fallocate } from "#kernel";
import type { ByteRange, Digest } from "#oci";
import { diskFailure } from "./disk-failure.ts";
import { Journal } from "./journal.ts";

/** How many bytes may be lost to a power cut; also keeps the disk busy while the network is, so that the last flush is short. */
const SYNC_EVERY = 64 * 1024 * 1024;

/**
 * The bytes of a blob while they arrive: a data file written at final offsets in any order, and the journal of what is there.
 * Closed unfinished, it goes on where it stopped. The caller holds the lock of the directory.
 */
export class Ingest implements AsyncDisposable {
  readonly path: string;
  readonly size: number;
  /**
   * The bytes are only on their way through: they are compressed, and what is in them is stored elsewhere. They are not flushed,
   * so that most of them never reach the disk; a power cut loses them, a killed process does not.
   */
  isPassing = false;
  readonly #directory: string;
  readonly #digest: Digest;
  #file: FileHandle;
  #journal: Journal;
  #unsynced = 0;
  #syncing: Promise<void> | undefined;
  #syncError: unknown;

  private constructor(directory: string, digest: Digest, size: number, file: FileHandle, journal: Journal) {
    this.path = join(directory, "data");
    this.size = size;
    this.#directory = directory;
    this.#digest = digest;
    this.#file = file;
    this.#journal = journal;
  }

  /** @throws Failure NO_SPACE before anything is fetched, where the disk cannot take the blob. */
  static async open(directory: string, digest: Digest, size: number): Promise<Ingest> {
    const { file, journal } = await openFiles(directory, digest, size);
    return new Ingest(directory, digest, size, file, journal);
  }

  get missing(): readonly ByteRange[] {
    return this.#journal.ranges.missing(this.size);
  }

  /** Bytes that are there from 0 on without a gap. */
  get prefix(): number {
    return this.#journal.ranges.prefix;
  }

  get received(): number {
    return this.#journal.ranges.bytes;
  }

  /** Writes `chunks` one behind the other from `offset` on. @throws Failure NO_SPACE, READ_ONLY_STORE, DISK_ERROR */
  async write(offset: number, chunks: readonly Uint8Array[]): Promise<void> {
    this.#throwSyncError();
    const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    try {
      let rest: readonly Uint8Array[] = chunks;
      let at = offset;
      while (at < offset + length) {
        const { bytesWritten } = await this.#file.writev(rest as Uint8Array[], at);
        at += bytesWritten;
        if (at < offset + length) rest = behind(rest, bytesWritten);
      }
      this.#journal.wrote(offset, offset + length);
    } catch (error) {
      throw diskFailure(error, `writing ${this.#digest}`);
    }
    this.#unsynced += length;
    if (this.#unsynced >= SYNC_EVERY && !this.isPassing) this.#syncSoon();
  }

  /** Everything written so far is on disk when this returns. */
  async flush(): Promise<void> {
    await this.#syncing;
    this.#throwSyncError();
    await this.#file.datasync().catch((error: unknown) => {
      throw diskFailure(error, `flushing ${this.#digest}`);
    });
  }

  /** Forgets every byte: they were not the blob's. */
  async restart(): Promise<void> {
    await this[Symbol.asyncDispose]();
    await Promise.all(["data", "state"].map((name) => rm(join(this.#directory, name), { force: true })));
    ({ file: this.#file, journal: this.#journal } = await openFiles(this.#directory, this.#digest, this.size));
    this.#unsynced = 0;
    this.#syncError = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#syncing;
    this.#journal.close();
    await this.#file.close();
  }

  /** Linux says once that written bytes were lost, to the first flush that asks: the next one would succeed. */
  #throwSyncError(): void {
    if (this.#syncError !== undefined) throw diskFailure(this.#syncError, `writing ${this.#digest}`);
  }

  #syncSoon(): void {
    if (this.#syncing !== undefined) return;
    this.#unsynced = 0;
    this.#syncing = this.#journal
      .sync(() => this.#file.datasync())
      .catch((error: unknown) => {
        this.#syncError = error;
      })
      .finally(() => {
        this.#syncing = undefined;
      });
  }
}

async function openFiles(directory: string, digest: Digest, size: number) {
  const bootId = readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
  let file: FileHandle | undefined;
  try {
    file = await open(join(directory, "data"), constants.O_RDWR | constants.O_CREAT, 0o600);
    const { size: there } = await file.stat();
    // A journal without its data file claims bytes that are not there.
    if (there < size) await rm(join(directory, "state"), { force: true });
    if (!fallocate(file.fd, 0, size)) await file.truncate(size);
    return { file, journal: Journal.open(join(directory, "state"), digest, size, bootId) };
  } catch (error) {
    await file?.close();
    if (isFailure(error))
      throw new Failure(error.code, error.reason, `${digest} has no room: ${error.message}`, { cause: error });
    throw diskFailure(error, `making room for ${digest} (${size} bytes)`);
  }
}

/** What is left of `chunks` behind the first `length` bytes. */
function behind(chunks: readonly Uint8Array[], length: number): readonly Uint8Array[] {
  const rest: Uint8Array[] = [];
  let skip = length;
  for (const chunk of chunks) {
    if (skip >= chunk.length) skip -= chunk.length;
    else {
      rest.push(chunk.subarray(skip));
      skip = 0;
    }
  }
  return rest;
}
