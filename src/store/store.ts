import { randomUUID } from "node:crypto";
import { open, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { isFailure, type CallOptions, type Progress } from "#base";
import { hexOf, type Descriptor, type Digest, type Source } from "#oci";
import { collect, type Collected, type CollectOptions } from "./collect.ts";
import { DigestPool } from "./digest-pool.ts";
import {
  INFLATE_LIMITS,
  SMALL,
  fetchBlob,
  formOf,
  inflateStored,
  readHead,
  type InflateLimits,
  type StoredBlob,
  type Want,
} from "./fetch-blob.ts";
import { Holder } from "./holder.ts";
import { blobPath, openLayout, type Layout } from "./layout.ts";
import { lockDirectory, tryLockDirectory, type LockedDirectory } from "./lock.ts";
import { PATIENCE, type PatienceOptions } from "./patience.ts";
import { Records } from "./records.ts";
import { keepReserve, releaseReserve } from "./reserve.ts";
import { SharedCalls } from "./shared-calls.ts";
import { Slots } from "./slots.ts";
import { HEAD } from "./sniff.ts";

export interface StoreOptions {
  readonly dataDir: string;
  readonly patience?: Partial<PatienceOptions>;
  readonly inflateLimits?: Partial<InflateLimits>;
  /** Connections at once, over all blobs. */
  readonly connections?: number;
}

/** Where a blob stands: here, here but compressed, or not here. */
type Standing =
  | { readonly here: StoredBlob }
  | { readonly here?: undefined; readonly inflate: { readonly path: string } }
  | { readonly here?: undefined; readonly inflate?: undefined };

/** The blobs and records of one data directory. Several processes may open it at once. */
export class Store implements AsyncDisposable {
  readonly layout: Layout;
  readonly records: Records;
  readonly #pool = new DigestPool();
  readonly #slots: Slots;
  readonly #patience: PatienceOptions;
  readonly #limits: InflateLimits;
  readonly #holder: Holder;
  readonly #closing = new AbortController();
  readonly #fetches = new SharedCalls<StoredBlob, Progress>();

  /** @throws Failure READ_ONLY_STORE, NO_SPACE, RECORDS_UNUSABLE */
  static async open(options: StoreOptions): Promise<Store> {
    const layout = openLayout(options.dataDir);
    try {
      const store = await Store.#openAt(layout, options);
      keepReserve(layout);
      return store;
    } catch (error) {
      if (!isFailure(error, "NO_SPACE") || !releaseReserve(layout)) throw error;
      return await Store.#openAt(layout, options);
    }
  }

  static async #openAt(layout: Layout, options: StoreOptions): Promise<Store> {
    // SQLite does not wait for one another's first opening of a database.
    await using place = await lockDirectory(join(layout.ingests, "records"));
    place.discard();
    return new Store(options, layout, new Records(layout.records));
  }

  private constructor(options: StoreOptions, layout: Layout, records: Records) {
    this.layout = layout;
    this.records = records;
    this.#holder = new Holder(this.layout.holders);
    this.#slots = new Slots(options.connections ?? 16);
    this.#patience = { ...PATIENCE, ...options.patience };
    this.#limits = { ...INFLATE_LIMITS, ...options.inflateLimits };
  }

  path(stored: Digest): string {
    return blobPath(this.layout, stored);
  }

  /** The stored form of a blob, if it is here. */
  async find(target: Descriptor, want: Want): Promise<StoredBlob | undefined> {
    return (await this.#standing(target, want)).here;
  }

  /**
   * The stored form of a blob, fetched if it is not here: by one caller of all that ask, in this process and in others. An aborted
   * caller stops waiting; the bytes go on coming until the store is closed, and a later call goes on where they stopped.
   *
   * `place` is a directory that the caller has locked, for what is so small that a lock of its own would cost more than the blob.
   *
   * @throws Failure DIGEST_MISMATCH, INVALID_LAYER, TOO_LARGE, NO_SPACE, or the source's own
   */
  async fetch(
    target: Descriptor,
    want: Want,
    source: Source,
    call?: CallOptions & { readonly place?: LockedDirectory },
  ): Promise<StoredBlob> {
    const here = await this.find(target, want);
    if (here !== undefined) return here;
    for (let again = false; ; again = true) {
      const { started, result } = this.#fetches.run(
        `${want.as} ${target.digest}`,
        (report) => this.#fetch(target, want, source, report, call?.place),
        call,
      );
      try {
        return await result;
      } catch (error) {
        // Another caller's source or credentials may have failed where ours do not.
        if (started || again || call?.signal?.aborted === true || this.#closing.signal.aborted) throw error;
        if (isFailure(error, "NO_SPACE", "READ_ONLY_STORE")) throw error;
      }
    }
  }

  /** Keeps blobs (and the snapshots of manifests) from collection, though no record names them yet, until it is disposed or we die. */
  lease(digests: readonly string[]): Disposable {
    const id = randomUUID();
    this.records.putLease(id, this.#holder.id, digests);
    return { [Symbol.dispose]: () => this.records.deleteLease(id) };
  }

  /** A directory for unfinished work that one holder in the machine has at a time. */
  async workplace(name: string, signal?: AbortSignal): Promise<LockedDirectory> {
    const any = signal === undefined ? this.#closing.signal : AbortSignal.any([signal, this.#closing.signal]);
    return await lockDirectory(join(this.layout.ingests, name), any);
  }

  /** Names that were given to blobs survive a power cut when this returns. */
  async flushNames(): Promise<void> {
    for (const path of [this.layout.blobs, this.layout.snapshots]) {
      const directory = await open(path, "r");
      try {
        await directory.sync();
      } finally {
        await directory.close();
      }
    }
  }

  /** Deletes every blob, snapshot and unfinished write that no manifest and no lease of a living process needs. */
  async collect(options?: CollectOptions): Promise<Collected> {
    return await collect(this.layout, this.records, options);
  }

  /** The digest of a stored blob as it is on disk now. */
  async digestOnDisk(stored: Digest, call?: CallOptions): Promise<Digest> {
    const path = this.path(stored);
    const { size } = await stat(path);
    const running = this.#pool.digest({ path, algorithm: "sha256" });
    running.advance(size, true);
    const cancel = () => running.cancel();
    call?.signal?.addEventListener("abort", cancel, { once: true });
    try {
      return (await running.result).digest;
    } finally {
      call?.signal?.removeEventListener("abort", cancel);
      call?.signal?.throwIfAborted();
    }
  }

  /** Removes what a process left behind that was killed between its last two steps. Work that can be resumed stays. */
  async sweep(): Promise<void> {
    for (const name of await readdir(this.layout.ingests)) {
      const locked = tryLockDirectory(join(this.layout.ingests, name));
      if (locked === undefined) continue;
      await using directory = locked;
      const resumable = await exists(join(directory.path, "state"));
      const finished = await exists(join(this.layout.blobs, name));
      if (!resumable || finished) directory.discard();
      else
        for (const file of await readdir(directory.path))
          if (file.endsWith(".plain")) await rm(join(directory.path, file), { force: true });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new DOMException("the store was closed", "AbortError"));
    await this.#fetches.settled();
    await this.#pool[Symbol.asyncDispose]();
    this.records[Symbol.dispose]();
    this.#holder[Symbol.dispose]();
  }

  async #fetch(
    target: Descriptor,
    want: Want,
    source: Source,
    report: (progress: Progress) => void,
    place: LockedDirectory | undefined,
  ): Promise<StoredBlob> {
    if (place !== undefined && target.size <= SMALL)
      return await this.#fetchIn(place, target, want, source, report, await this.#standing(target, want));
    await using directory = await this.workplace(hexOf(target.digest));
    // Perhaps its last holder has fetched it.
    const blob = await this.#fetchIn(directory, target, want, source, report, await this.#standing(target, want));
    directory.discard();
    return blob;
  }

  async #fetchIn(
    directory: LockedDirectory,
    target: Descriptor,
    want: Want,
    source: Source,
    report: (progress: Progress) => void,
    standing: Standing,
  ): Promise<StoredBlob> {
    if (standing.here !== undefined) return standing.here;
    const progress = { digest: target.digest, received: 0, total: target.size };
    const options = {
      layout: this.layout,
      pool: this.#pool,
      slots: this.#slots,
      patience: this.#patience,
      limits: this.#limits,
      target,
      want,
      directory: directory.path,
      signal: this.#closing.signal,
      onReceived: (received: number) => {
        progress.received = received;
        report({ ...progress });
      },
      onWaiting: (milliseconds: number) => report({ ...progress, waitsUntil: Date.now() + milliseconds }),
      onNamed: (stored: Digest, isTar: boolean) => {
        if (stored !== target.digest) this.records.putForm(target.digest, isTar ? "plain" : "raw", stored);
      },
    };
    const embedded = embeddedBytes(target, source);
    return standing.inflate === undefined
      ? await fetchBlob({ ...options, source: embedded ?? source })
      : await inflateStored(options, standing.inflate.path);
  }

  async #standing(target: Descriptor, want: Want): Promise<Standing> {
    const plain = want.as === "file" ? undefined : this.records.form(target.digest, "plain");
    if (plain !== undefined) {
      const size = await sizeOf(this.path(plain));
      if (size !== undefined) return { here: { stored: plain, size, isTar: true } };
    }
    const raw = target.digest.startsWith("sha256:") ? target.digest : this.records.form(target.digest, "raw");
    const size = raw === undefined ? undefined : await sizeOf(this.path(raw));
    if (raw === undefined || size === undefined) return {};
    if (want.as === "file") return { here: { stored: raw, size, isTar: false } };
    const { compression, isTar } = await formOf(await readHead(this.path(raw), HEAD), want);
    if (compression === "none") return { here: { stored: raw, size, isTar } };
    return { inflate: { path: this.path(raw) } };
  }
}

/** image-spec, descriptor.md: `data` is the content itself. It is verified like anything else that comes from outside. */
function embeddedBytes(target: Descriptor, source: Source): Source | undefined {
  if (target.data === undefined) return undefined;
  const bytes = Buffer.from(target.data, "base64");
  return {
    name: "the descriptor's data",
    resolve: (reference, call) => source.resolve(reference, call),
    referrers: (subject, call) => source.referrers(subject, call),
    fetch: () => Promise.resolve(bytes),
    open: (_, range) => Promise.resolve({ start: range.start, body: once(bytes.subarray(range.start, range.end)) }),
  };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  await Promise.resolve();
  yield bytes;
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch {
    return undefined;
  }
}

async function exists(path: string): Promise<boolean> {
  return (await sizeOf(path)) !== undefined;
}
