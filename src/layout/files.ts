import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { open, stat, type FileHandle } from "node:fs/promises";
import { join, posix } from "node:path";
import { errnoOf, Failure, messageOf } from "#base";
import type { ByteRange } from "#oci";
import { readTar, type TarEntry } from "#tar";

/** One file among {@link Files}, open. */
export interface OpenFile extends AsyncDisposable {
  readonly size: number;
  read(range: ByteRange, signal?: AbortSignal): AsyncIterable<Uint8Array>;
}

/** The files of a directory or of an archive, by their names in it. */
export interface Files extends AsyncDisposable {
  /** False where not even the directory is there. */
  exist(): Promise<boolean>;
  /** Undefined where there is no such file. @throws Failure UNREADABLE_LAYOUT */
  open(name: string): Promise<OpenFile | undefined>;
}

/** Bytes per read. */
const PIECE = 1024 * 1024;

export class DirectoryFiles implements Files {
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
  }

  async exist(): Promise<boolean> {
    return await stat(this.#dir).then(
      (found) => found.isDirectory(),
      () => false,
    );
  }

  async open(name: string): Promise<OpenFile | undefined> {
    const path = join(this.#dir, name);
    try {
      const handle = await open(path, "r");
      const { size } = await handle.stat();
      return {
        size,
        read: (range, signal) => piecesOf(handle, path, range, signal),
        [Symbol.asyncDispose]: () => handle.close(),
      };
    } catch (error) {
      if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ENOTDIR") return undefined;
      throw unreadable(path, error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Nothing is kept open between two files.
  }
}

/** A plain tar, read where its members lie. Its headers are read once, at the beginning. */
export class TarFiles implements Files {
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #entries: ReadonlyMap<string, TarEntry>;

  private constructor(path: string, handle: FileHandle, entries: ReadonlyMap<string, TarEntry>) {
    this.#path = path;
    this.#handle = handle;
    this.#entries = entries;
  }

  /** @throws Failure UNREADABLE_LAYOUT, INVALID_TAR */
  static async open(path: string): Promise<TarFiles> {
    const entries = new Map<string, TarEntry>();
    try {
      const fd = openSync(path, "r");
      try {
        const head = new Uint8Array(4);
        readSync(fd, head, 0, 4, 0);
        const compression = compressionOf(head);
        if (compression !== undefined) throw compressed(path, compression);
        const bytes = {
          size: fstatSync(fd).size,
          read: (offset: number, into: Uint8Array) => readSync(fd, into, 0, into.length, offset),
        };
        for (const entry of readTar(bytes)) entries.set(clean(entry.path), entry);
      } finally {
        closeSync(fd);
      }
      return new TarFiles(path, await open(path, "r"), entries);
    } catch (error) {
      if (!(error instanceof Failure)) throw unreadable(path, error);
      if (error.message.includes(path)) throw error;
      throw new Failure(error.code, error.reason, `${path} cannot be used: ${error.message}`, { cause: error });
    }
  }

  exist(): Promise<boolean> {
    return Promise.resolve(true);
  }

  open(name: string): Promise<OpenFile | undefined> {
    const entry = this.#follow(clean(name));
    const extent = entry?.extents[0];
    if (entry === undefined || entry.extents.length > 1) return Promise.resolve(undefined);
    const from = extent?.offset ?? 0;
    return Promise.resolve({
      size: entry.size,
      read: ({ start, end }, signal) =>
        piecesOf(this.#handle, this.#path, { start: from + start, end: from + end }, signal),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }

  /** `docker save` writes a layer that two images share once, and links to it. */
  #follow(name: string): TarEntry | undefined {
    for (let hop = 0; hop < 8; hop++) {
      const entry = this.#entries.get(name);
      if (entry?.type === "symlink") name = clean(posix.join(posix.dirname(name), entry.linkname));
      else if (entry?.type === "hardlink") name = clean(entry.linkname);
      else return entry?.type === "file" ? entry : undefined;
    }
    return undefined;
  }
}

/** By the first bytes of a file: what it is compressed with, as media types say it. */
export function compressionOf(head: Uint8Array): "gzip" | "zstd" | undefined {
  if (head[0] === 0x1f && head[1] === 0x8b) return "gzip";
  return head[0] === 0x28 && head[1] === 0xb5 && head[2] === 0x2f && head[3] === 0xfd ? "zstd" : undefined;
}

async function* piecesOf(
  handle: FileHandle,
  path: string,
  { start, end }: ByteRange,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  for (let at = start; at < end;) {
    signal?.throwIfAborted();
    const piece = new Uint8Array(Math.min(PIECE, end - at));
    const { bytesRead } = await handle.read(piece, 0, piece.length, at).catch((error: unknown) => {
      throw unreadable(path, error);
    });
    if (bytesRead === 0) throw unreadable(path, new Error(`it ends at ${at}, before ${end}`));
    yield piece.subarray(0, bytesRead);
    at += bytesRead;
  }
}

function clean(name: string): string {
  return posix.normalize(name).replace(/^\/+|\/+$/g, "");
}

function compressed(path: string, compression: string): Failure {
  const message = `${path} is compressed with ${compression}: decompress it first, so that it can be read in place`;
  return new Failure("INVALID_ARGUMENT", "COMPRESSED_ARCHIVE", message);
}

function unreadable(path: string, error: unknown): Failure {
  const why = errnoOf(error) === "ENOENT" ? "there is no such file" : messageOf(error);
  const code = errnoOf(error) === "ENOENT" ? "NOT_FOUND" : "FAILED_PRECONDITION";
  return new Failure(code, "UNREADABLE_LAYOUT", `${path} cannot be read: ${why}`, { cause: error });
}
