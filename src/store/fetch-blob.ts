import { chmod, open, rename, statfs } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { Failure } from "#base";
import { algorithmOf, digestOf, hexOf, type Descriptor, type Digest, type Source } from "#oci";
import type { DigestPool } from "./digest-pool.ts";
import { diskFailure } from "./disk-failure.ts";
import { download } from "./download.ts";
import { Ingest } from "./ingest.ts";
import { blobPath, type Layout } from "./layout.ts";
import type { PatienceOptions } from "./patience.ts";
import { readBlob, type RunningRead } from "./read-blob.ts";
import type { Slots } from "./slots.ts";
import { HEAD, compressionOf, inflateHead, type Compression } from "./sniff.ts";

/** Blobs up to this size come in one piece, are hashed where they are, and begin anew when they are interrupted. Bytes. */
export const SMALL = 1024 * 1024;

/** Plain bytes up to which a small blob is inflated at once. */
const SMALL_PLAIN = 4 * SMALL;

/** What a caller means to do with a blob. */
export type Want =
  /** The bytes as they are. */
  | { readonly as: "file" }
  /** The plain tar inside. */
  | { readonly as: "tar" }
  /** The plain tar if it is one, else the bytes as they are. */
  | { readonly as: "either"; readonly isTar: (head: Uint8Array) => boolean };

export interface StoredBlob {
  /** Of the stored bytes; they are at `blobPath`. */
  readonly stored: Digest;
  readonly size: number;
  readonly isTar: boolean;
}

/** How far plain bytes may exceed the compressed ones: honest layers stay far below, bombs are far above. */
export interface InflateLimits {
  /** Plain bytes that are always allowed. */
  readonly floor: number;
  /** Plain bytes per compressed byte. */
  readonly ratio: number;
}

export const INFLATE_LIMITS: InflateLimits = { floor: 1024 ** 3, ratio: 400 };

export interface FetchOptions {
  readonly layout: Layout;
  readonly pool: DigestPool;
  readonly slots: Slots;
  readonly patience: PatienceOptions;
  readonly limits: InflateLimits;
  readonly source: Source;
  readonly target: Descriptor;
  readonly want: Want;
  /** Locked. Whatever is made in it is named by the blob's hex and what is wanted of it, save what an ingest keeps there. */
  readonly directory: string;
  readonly signal: AbortSignal;
  readonly onReceived: (bytes: number) => void;
  /** Told for how many milliseconds the source will not be asked. */
  readonly onWaiting: (milliseconds: number) => void;
  /** Called with what it will be stored as, before it is: nothing may lie among the blobs that nobody is known to need. */
  readonly onNamed: (stored: Digest, isTar: boolean) => void;
}

/**
 * Brings one blob from the source to its final place, verified and flushed.
 *
 * @throws Failure DIGEST_MISMATCH when the source sends other bytes, twice; INVALID_LAYER, TOO_LARGE, NO_SPACE …
 */
export async function fetchBlob(options: FetchOptions): Promise<StoredBlob> {
  const { target } = options;
  if (target.size <= SMALL) {
    const blob = await fetchSmall(options);
    if (blob !== undefined) return blob;
  }
  await using ingest = await Ingest.open(options.directory, target.digest, target.size);
  options.onReceived(ingest.received);
  for (let again = false; ; again = true) {
    try {
      return await fetchLarge(options, ingest);
    } catch (error) {
      if (!(error instanceof Failure) || error.reason !== "DIGEST_MISMATCH") throw error;
      await ingest.restart();
      // Bytes of an earlier attempt may have been wrong, or the blob has changed between two parts: once more, from zero.
      if (again) throw error;
    }
  }
}

/** Makes the plain tar of a blob that is stored as it came. */
export async function inflateStored(
  options: Omit<FetchOptions, "source" | "slots">,
  path: string,
): Promise<StoredBlob> {
  const head = await readHead(path, HEAD);
  const form = await formOf(head, options.want);
  const running = await startReading(options, path, form);
  running.advance(options.target.size);
  return await finishReading({ ...options, source: { name: "the store" } }, form, running, path);
}

/** What becomes of a blob that begins like this. */
export async function formOf(
  head: Uint8Array,
  want: Want,
): Promise<{ readonly compression: Compression; readonly isTar: boolean }> {
  if (want.as === "file") return { compression: "none", isTar: false };
  const compression = compressionOf(head);
  if (want.as === "tar") return { compression, isTar: true };
  if (want.isTar(await inflateHead(head, compression))) return { compression, isTar: true };
  return { compression: "none", isTar: false };
}

export async function readHead(path: string, length: number): Promise<Uint8Array> {
  const file = await open(path, "r");
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(length), 0, length, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** Undefined where it turns out to be no small matter: compressed, and large when it is plain. */
async function fetchSmall(options: FetchOptions): Promise<StoredBlob | undefined> {
  const { source, target, slots, signal, directory } = options;
  const release = await slots.take(signal);
  let bytes: Uint8Array;
  try {
    bytes = await source.fetch(target, { signal, onWaiting: options.onWaiting });
  } finally {
    release();
  }
  if (bytes.length !== target.size || digestOf(bytes, algorithmOf(target.digest)) !== target.digest)
    throw mismatch(options, digestOf(bytes, algorithmOf(target.digest)));
  options.onReceived(bytes.length);
  const form = await formOf(bytes.subarray(0, HEAD), options.want);
  const path = join(directory, `${hexOf(target.digest)}.${options.want.as}.small`);
  if (form.compression !== "none") {
    const plain = form.compression === "gzip" ? await gunzipSmall(bytes, options) : undefined;
    if (plain !== undefined) {
      await write(plainPath(options), plain, target.digest, true);
      const blob = { stored: digestOf(plain), size: plain.length, isTar: form.isTar };
      return await publish(options, plainPath(options), blob);
    }
    await write(path, bytes, target.digest, false);
    return await inflateStored(options, path);
  }
  await write(path, bytes, target.digest, true);
  return await publish(options, path, { stored: digestOf(bytes), size: bytes.length, isTar: form.isTar });
}

/** Where it is, since a thread takes longer to start. Undefined: more than a little, or not whole, which the long way says. */
async function gunzipSmall(bytes: Uint8Array, { limits, target }: FetchOptions): Promise<Uint8Array | undefined> {
  const allowed = Math.max(limits.floor, target.size * limits.ratio, 1);
  try {
    return await promisify(gunzip)(bytes, { maxOutputLength: Math.min(allowed, SMALL_PLAIN) });
  } catch {
    return undefined;
  }
}

async function fetchLarge(options: FetchOptions, ingest: Ingest): Promise<StoredBlob> {
  const { target, signal } = options;
  const enough = Math.min(HEAD, target.size);
  const stop = new AbortController();
  const begun = Promise.withResolvers<void>();
  let running: RunningRead | undefined;
  let isGivenUp = false;
  const told = () => {
    options.onReceived(ingest.received);
    if (ingest.prefix >= enough) begun.resolve();
    running?.advance(ingest.prefix);
  };
  const hashed = begun.promise.then(async () => {
    const form = await formOf(await readHead(ingest.path, enough), options.want);
    ingest.isPassing = form.compression !== "none";
    running = await startReading(options, ingest.path, form);
    if (isGivenUp) running.cancel();
    running.advance(ingest.prefix);
    return { form, result: await running.result };
  });
  // A bomb or a full disk ends the download too.
  hashed.catch((error: unknown) => stop.abort(error));
  try {
    told();
    const { source, slots, patience, onWaiting } = options;
    const both = AbortSignal.any([signal, stop.signal]);
    await download({ source, target, ingest, slots, patience, signal: both, onWritten: told, onWaiting });
    const { form } = await hashed;
    if (running === undefined) throw new Error("no digest was begun");
    if (form.compression === "none") await ingest.flush();
    return await finishReading(options, form, running, ingest.path);
  } catch (error) {
    const reason: unknown = stop.signal.aborted ? stop.signal.reason : error;
    isGivenUp = true;
    begun.reject(error);
    running?.cancel();
    // Whoever tries next writes where this one may still be writing.
    await hashed.catch(() => undefined);
    throw reason;
  }
}

type FormOptions = Pick<FetchOptions, "pool" | "target" | "want" | "directory" | "limits" | "layout" | "onNamed">;

async function startReading(
  options: FormOptions,
  path: string,
  { compression }: { readonly compression: Compression },
): Promise<RunningRead> {
  const { pool, target, limits, layout } = options;
  const job = { path, size: target.size, algorithm: algorithmOf(target.digest) };
  if (compression === "none") return readBlob(pool, job);
  const { bavail, bsize } = await statfs(layout.blobs);
  const limit = Math.max(limits.floor, target.size * limits.ratio);
  return readBlob(pool, {
    ...job,
    inflate: { compression, to: plainPath(options), limit, room: bavail * bsize },
  });
}

/** Checks the digest and puts the result at its place. */
async function finishReading(
  options: FormOptions & { readonly source: { readonly name: string } },
  { compression, isTar }: { readonly compression: Compression; readonly isTar: boolean },
  running: RunningRead,
  path: string,
): Promise<StoredBlob> {
  const { target } = options;
  const result = await running.result.catch((error: unknown) => {
    if (error instanceof Failure)
      throw new Failure(error.code, error.reason, `the blob ${target.digest}: ${error.message}`, { cause: error });
    throw diskFailure(error, `reading ${target.digest} back`);
  });
  if (result.digest !== target.digest) throw mismatch(options, result.digest);
  if (result.unreadable !== undefined)
    throw new Failure(
      "INVALID_ARGUMENT",
      "INVALID_LAYER",
      `the layer ${target.digest} is not whole ${compression}: ${result.unreadable}; whoever pushed it must pack it again`,
    );
  const from = compression === "none" ? path : plainPath(options);
  return await publish(options, from, { stored: result.stored, size: result.storedSize, isTar });
}

/** The file is flushed already; from now on it is a blob. */
async function publish(
  { layout, onNamed }: Pick<FetchOptions, "layout" | "onNamed">,
  from: string,
  blob: StoredBlob,
): Promise<StoredBlob> {
  onNamed(blob.stored, blob.isTar);
  try {
    await chmod(from, 0o444);
    await rename(from, blobPath(layout, blob.stored));
  } catch (error) {
    throw diskFailure(error, `putting ${blob.stored} at its place`);
  }
  return blob;
}

function plainPath({ directory, target, want }: FormOptions): string {
  return join(directory, `${hexOf(target.digest)}.${want.as}.plain`);
}

async function write(path: string, bytes: Uint8Array, digest: Digest, durable: boolean): Promise<void> {
  try {
    const file = await open(path, "w", 0o600);
    try {
      await file.writeFile(bytes);
      if (durable) await file.datasync();
    } finally {
      await file.close();
    }
  } catch (error) {
    throw diskFailure(error, `writing ${digest}`);
  }
}

function mismatch(
  { source, target }: { readonly source: { readonly name: string }; readonly target: Descriptor },
  found: Digest,
): Failure {
  return new Failure(
    "DATA_LOSS",
    "DIGEST_MISMATCH",
    `${source.name} sent bytes with the digest ${found} for the blob ${target.digest}; nothing of it was kept`,
  );
}
