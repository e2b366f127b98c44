import { Failure, type CallOptions } from "#base";
import type { Descriptor, Destination } from "#oci";
import type { EndpointClient } from "./endpoint-client.ts";
import { addToReferrersTag, putManifest } from "./push-manifest.ts";
import type { Session } from "./session.ts";
import { uploadInChunks } from "./upload-in-chunks.ts";
import { locationOf, refused } from "./upload-answer.ts";

/** Blobs above this go up in chunks, so that a broken connection costs one chunk and not the blob. Bytes. */
const CHUNKED_FROM = 256 * 1024 * 1024;

export interface DestinationOptions {
  /** Repositories of the same registry that may hold a blob already: it is then mounted from there, not sent. */
  readonly mountFrom?: readonly string[];
  /** Bytes of a blob from which on it is uploaded in chunks. */
  readonly chunkedFrom?: number;
}

/** A repository of a registry, written over the distribution API. distribution-spec, "Push". */
export class HttpDestination implements Destination {
  readonly name: string;
  readonly #session: Session;
  readonly #options: DestinationOptions;

  constructor(session: Session, options: DestinationOptions = {}) {
    this.name = `registry ${session.registry}`;
    this.#session = session;
    this.#options = options;
  }

  async pushBlob(blob: Descriptor, bytes: () => AsyncIterable<Uint8Array>, call?: CallOptions): Promise<void> {
    await this.#session.first("push", "digest", (client) => this.#pushBlobTo(client, blob, bytes, call), call?.signal);
  }

  async pushManifest(manifest: Descriptor, bytes: Uint8Array, tag?: string, call?: CallOptions): Promise<void> {
    await this.#session.first(
      "push",
      "digest",
      (client) => this.#pushManifestTo(client, manifest, bytes, tag, call),
      call?.signal,
    );
  }

  async #pushBlobTo(
    client: EndpointClient,
    blob: Descriptor,
    bytes: () => AsyncIterable<Uint8Array>,
    call: CallOptions | undefined,
  ): Promise<void> {
    const { repository } = client.endpoint;
    const signal = call?.signal;
    const head = await client.send({ method: "HEAD", path: `/${repository}/blobs/${blob.digest}`, signal });
    await head.response.body.dump();
    if (head.response.statusCode === 200) return;

    for (let attempt = 1; ; attempt++) {
      const location = await this.#begin(client, blob, signal);
      if (location === undefined) return;
      if (blob.size > (this.#options.chunkedFrom ?? CHUNKED_FROM))
        if (await uploadInChunks(client, location, blob, bytes, call)) return;
      try {
        return await this.#put(client, location, blob, bytes, call);
      } catch (error) {
        // An upload that broke off has left its session in an unknown state: a new one is begun.
        if (!(error instanceof Failure) || error.code !== "UNAVAILABLE" || attempt >= 3) throw error;
      }
    }
  }

  /** Where to upload to; undefined where the blob could be mounted from another repository. */
  async #begin(client: EndpointClient, blob: Descriptor, signal: AbortSignal | undefined): Promise<URL | undefined> {
    const path = `/${client.endpoint.repository}/blobs/uploads/`;
    const queries: Record<string, string>[] = (this.#options.mountFrom ?? []).map((from) => ({
      mount: blob.digest,
      from,
    }));
    if (queries.length === 0) queries.push({});
    for (const [i, query] of queries.entries()) {
      const answer = await client.send({ method: "POST", path, query, headers: { "content-length": "0" }, signal });
      const { statusCode } = answer.response;
      if (statusCode === 201) {
        await answer.response.body.dump();
        return undefined;
      }
      if (statusCode !== 202) throw await refused("POST", answer, client);
      await answer.response.body.dump();
      if (i === queries.length - 1) return locationOf(answer);
      await this.#cancel(client, locationOf(answer), signal);
    }
    throw new Error("unreachable: the last query returns or throws");
  }

  async #put(
    client: EndpointClient,
    location: URL,
    blob: Descriptor,
    bytes: () => AsyncIterable<Uint8Array>,
    call: CallOptions | undefined,
  ): Promise<void> {
    const url = new URL(location);
    url.searchParams.set("digest", blob.digest);
    const outgoing = new Outgoing(blob, call);
    const body = blob.size === 0 ? () => new Uint8Array() : () => outgoing.counted(bytes());
    const headers = { "content-type": "application/octet-stream", "content-length": String(blob.size) };
    const request = { method: "PUT", path: url, headers, body, signal: call?.signal } as const;
    const answer = await client.once(request).catch((error: unknown) => {
      throw outgoing.error ?? error;
    });
    if (answer.response.statusCode !== 201 && answer.response.statusCode !== 204)
      throw await refused("PUT", answer, client);
    await answer.response.body.dump();
  }

  async #pushManifestTo(
    client: EndpointClient,
    manifest: Descriptor,
    bytes: Uint8Array,
    tag: string | undefined,
    call: CallOptions | undefined,
  ): Promise<void> {
    const { response } = await putManifest(client, tag ?? manifest.digest, manifest.mediaType, bytes, call);
    const stored = response.headers["docker-content-digest"];
    if (typeof stored === "string" && stored !== manifest.digest)
      throw new Failure(
        "DATA_LOSS",
        "DIGEST_MISMATCH",
        `${client.endpoint.host} stored the manifest ${manifest.digest} as ${stored}`,
      );
    const isIndexed = response.headers["oci-subject"] !== undefined;
    if (!isIndexed) await addToReferrersTag(client, manifest, bytes, call);
  }

  /** A session that a refused mount has opened; registries forget it by themselves where this fails. */
  async #cancel(client: EndpointClient, location: URL, signal: AbortSignal | undefined): Promise<void> {
    const answer = await client.once({ method: "DELETE", path: location, signal }).catch(() => undefined);
    signal?.throwIfAborted();
    await answer?.response.body.dump();
  }
}

/** The bytes of the caller on their way out, and what went wrong with them: a file that cannot be read is no fault of the network. */
class Outgoing {
  error: unknown;
  readonly #blob: Descriptor;
  readonly #call: CallOptions | undefined;

  constructor(blob: Descriptor, call: CallOptions | undefined) {
    this.#blob = blob;
    this.#call = call;
  }

  async *counted(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
    const { digest, size } = this.#blob;
    let sent = 0;
    try {
      for await (const chunk of bytes) {
        sent += chunk.byteLength;
        yield chunk;
        this.#call?.onProgress?.({ digest, received: sent, total: size });
      }
      if (sent !== size)
        throw new Failure("INTERNAL", "SIZE_MISMATCH", `${digest} was to have ${size} bytes; ${sent} came`);
    } catch (error) {
      this.error = error;
      throw error;
    }
  }
}
