import { Failure, type CallOptions, type Log, type Progress } from "#base";
import { isImage, planParts, type Part } from "#artifact";
import {
  formatReference,
  hexOf,
  parseReference,
  type Descriptor,
  type Digest,
  type Platform,
  type Reference,
  type Source,
} from "#oci";
import { openLayout, parseLocation } from "#layout";
import type { Registry } from "#registry";
import { placeParts, type Snapshots } from "#snapshot";
import {
  SharedCalls,
  Slots,
  type LockedDirectory,
  type ManifestRecord,
  type Store,
  type StoredPart,
  type Want,
} from "#store";
import { looksLikeTar } from "#tar";
import type { Classified, PullRequest, StoredObject } from "./engine.ts";
import { manifestOf, missing, objectOf } from "./objects.ts";
import { prefer } from "./prefer.ts";
import { classify, fetchConfig, resolveManifest, type Resolved } from "./resolve.ts";

/** Blobs of one object that are under way at once. Their connections are bounded by the store. */
const BLOBS = 12;

export interface PullerOptions {
  readonly store: Store;
  readonly snapshots: Snapshots;
  readonly registry: Registry;
  readonly platform: Platform;
  readonly log: Log;
  readonly closing: AbortSignal;
}

/** Gets objects from registries into the store. */
export class Puller {
  readonly #options: PullerOptions;
  readonly #pulls = new SharedCalls<StoredObject, Progress>();

  constructor(options: PullerOptions) {
    this.#options = options;
  }

  async classify(request: PullRequest, call?: CallOptions): Promise<Classified> {
    const reference = parseReference(request.reference);
    await using origin = await this.#origin(reference, request);
    return await classify(await this.#resolve(reference, origin.source, request, call), origin.source, call);
  }

  async pull(request: PullRequest, call?: CallOptions): Promise<StoredObject> {
    const reference = parseReference(request.reference);
    // Credentials are part of the key: what one caller may have says nothing of another.
    const key = JSON.stringify([formatReference(reference), request.platform, request.from, request.credentials ?? []]);
    return await this.#pulls.run(key, (report) => this.#pull(reference, request, report), call).result;
  }

  /** Fetches again what a recorded object lacks, from wherever it was pulled. @throws the last source's Failure */
  async mend(record: ManifestRecord, call?: CallOptions): Promise<void> {
    const { store, registry } = this.#options;
    const { parts } = planParts(manifestOf(record), record.config);
    let failure: unknown = missing(record.digest);
    for (const { name } of store.records.referencesOf(record.digest))
      try {
        await this.#fetchParts(record.digest, parts, registry.source(parseReference(name)), call ?? {});
        return;
      } catch (error) {
        call?.signal?.throwIfAborted();
        failure = error;
      }
    throw failure;
  }

  async settled(): Promise<void> {
    await this.#pulls.settled();
  }

  /** Where the object comes from; open as long as it is read. */
  async #origin(reference: Reference, request: PullRequest): Promise<AsyncDisposable & { readonly source: Source }> {
    const { from, credentials } = request;
    const location = from === undefined ? undefined : parseLocation(from);
    if (location !== undefined) {
      const layout = await openLayout(location);
      return { source: layout, [Symbol.asyncDispose]: () => layout[Symbol.asyncDispose]() };
    }
    if (from !== undefined)
      throw new Failure(
        "INVALID_ARGUMENT",
        "INVALID_REFERENCE",
        `${JSON.stringify(from)} is no oci:, oci-archive: or docker-archive: location: write kind:/path[:name]`,
      );
    const source = this.#options.registry.source(reference, credentials);
    return { source, [Symbol.asyncDispose]: () => Promise.resolve() };
  }

  async #resolve(reference: Reference, source: Source, request: PullRequest, call?: CallOptions): Promise<Resolved> {
    return await resolveManifest(reference, source, request.platform ?? this.#options.platform, call);
  }

  async #pull(reference: Reference, request: PullRequest, report: (progress: Progress) => void): Promise<StoredObject> {
    const { store, snapshots, closing, log } = this.#options;
    const call = { signal: closing, onProgress: report };
    snapshots.warm();
    await using origin = await this.#origin(reference, request);
    const from = prefer(request.preferred, origin.source);
    const name = formatReference(reference);
    const onWaiting = (milliseconds: number): void =>
      report({ digest: name, received: 0, total: 0, waitsUntil: Date.now() + milliseconds });
    const resolved = await this.#resolve(reference, from, request, { signal: closing, onWaiting });
    const { descriptor, manifest } = resolved;

    // Said before anything is looked for: from here on nobody collects what this object needs.
    // The config is among it: in some packagings it is one of the files.
    using _lease = store.lease([descriptor, manifest.config, ...manifest.layers].map(({ digest }) => digest));
    const known = store.records.manifest(descriptor.digest);
    const config = known?.config ?? (await fetchConfig(manifest, from, { signal: closing, onWaiting }));
    const { format, parts } = planParts(manifest, config);
    const stored = await this.#fetchParts(descriptor.digest, parts, from, call);
    await snapshots.make(descriptor.digest, placeParts(parts, stored));
    await store.flushNames();

    const now = Date.now();
    const blobs = new Map([manifest.config, ...manifest.layers].map(({ digest, size }) => [digest, size]));
    const record: ManifestRecord = {
      digest: descriptor.digest,
      mediaType: manifest.mediaType,
      bytes: resolved.bytes,
      config,
      packaging: format.name,
      isImage: isImage(manifest),
      size: resolved.bytes.length + [...blobs.values()].reduce((sum, size) => sum + size, 0),
      parts: stored,
      pulledAt: known?.pulledAt ?? now,
      usedAt: now,
    };
    store.records.transaction(() => {
      store.records.putManifest(record);
      store.records.putReference({
        name,
        manifest: descriptor.digest,
        resolved: resolved.resolved,
        repository: `${reference.registry}/${reference.repository}`,
      });
    });
    log.info({ reference: name, digest: descriptor.digest, packaging: format.name }, "pulled");
    return objectOf(record, store.records.referencesOf(descriptor.digest));
  }

  async #fetchParts(
    manifest: Digest,
    parts: readonly Part[],
    source: Source,
    call: CallOptions,
  ): Promise<readonly StoredPart[]> {
    // Another process that pulls the same object waits here, and then finds everything.
    await using place = await this.#options.store.workplace(`pull-${hexOf(manifest)}`, call.signal);
    place.discard();
    const slots = new Slots(BLOBS);
    const stop = new AbortController();
    const signal = call.signal === undefined ? stop.signal : AbortSignal.any([call.signal, stop.signal]);
    const fetches = parts.map(async (part) => {
      const release = await slots.take(signal);
      try {
        return await this.#fetchPart(part, source, { ...call, signal, place });
      } catch (error) {
        stop.abort(error);
        throw error;
      } finally {
        release();
      }
    });
    try {
      return await Promise.all(fetches);
    } finally {
      await Promise.allSettled(fetches);
    }
  }

  async #fetchPart(
    part: Part,
    source: Source,
    call: CallOptions & { readonly place: LockedDirectory },
  ): Promise<StoredPart> {
    const { blob } = part;
    const found = await this.#options.store.fetch(withoutName(blob), wantOf(part), source, call);
    if (part.kind === "layer" && part.diffId !== undefined && part.diffId !== found.stored)
      throw new Failure(
        "DATA_LOSS",
        "DIFFID_MISMATCH",
        `the layer ${blob.digest} is ${found.stored} when it is plain, but the config says ${part.diffId}; push it again`,
      );
    return { blob: blob.digest, stored: found.stored, size: found.size, isTar: found.isTar };
  }
}

function wantOf(part: Part): Want {
  // A file that was compressed is stored as it is plain, as tars are.
  if (part.kind === "file") return { as: part.inflate === true ? "tar" : "file" };
  if (part.kind === "sniff") return { as: "either", isTar: looksLikeTar };
  return { as: "tar" };
}

/** Sources know blobs by digest and size; Ollama's `name` would only confuse them. */
function withoutName(blob: Descriptor): Descriptor {
  const { name, ...rest } = blob;
  return name === undefined ? blob : rest;
}
