import { Failure, type CallOptions } from "#base";
import {
  algorithmOf,
  digestOf,
  formatReference,
  isDigest,
  MANIFEST_LIMIT,
  MEDIA,
  parseManifest,
  type ByteRange,
  type Descriptor,
  type Digest,
  type OpenBlob,
  type Reference,
  type Source,
} from "#oci";
import { embedded, exactly, readAll, readContent } from "./body.ts";
import { parseContentRange } from "./content-range.ts";
import type { ApiRequest, ApiResponse, EndpointClient } from "./endpoint-client.ts";
import { nextPage } from "./link.ts";
import { isPassing } from "./patience.ts";
import { referrersTag } from "./push-manifest.ts";
import type { Session } from "./session.ts";
import { statusFailure } from "./status-failure.ts";

/** Larger content is no config or manifest: it is opened, not fetched whole. Bytes. */
const FETCH_LIMIT = 64 * 1024 * 1024;
/** More pages of referrers than this are a server going round in circles. */
const PAGE_LIMIT = 1000;

const MANIFESTS: ReadonlySet<string> = new Set([MEDIA.manifest, MEDIA.index, MEDIA.dockerManifest, MEDIA.dockerIndex]);
const ACCEPT = [...MANIFESTS, "*/*;q=0.1"].join(", ");

/** A repository of a registry and its mirrors, read over the distribution API. */
export class HttpSource implements Source {
  readonly name: string;
  readonly #session: Session;

  constructor(session: Session) {
    this.name = `registry ${session.registry}`;
    this.#session = session;
  }

  async resolve(reference: Reference, call?: CallOptions): Promise<Descriptor> {
    const kind = reference.digest === undefined ? "tag" : "digest";
    // A digest names its content whoever serves it: only a tag needs a host that may be believed.
    const capability = kind === "tag" ? "resolve" : "pull";
    try {
      return await this.#session.first(
        capability,
        kind,
        (client, isLast) => this.#resolveAt(client, reference, isLast, call),
        call?.signal,
      );
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      const { code, reason, message } = error;
      throw new Failure(code, reason, `failed to resolve image: ${message}`, { cause: error });
    }
  }

  async fetch(target: Descriptor, call?: CallOptions): Promise<Uint8Array> {
    const inline = embedded(target);
    if (inline !== undefined) return inline;
    const isManifest = MANIFESTS.has(target.mediaType);
    const limit = isManifest ? MANIFEST_LIMIT : FETCH_LIMIT;
    if (target.size > limit)
      throw new Failure(
        "RESOURCE_EXHAUSTED",
        "TOO_LARGE",
        `${target.digest} has ${target.size} bytes; at most ${limit} are read at once`,
      );
    const attempt = (client: EndpointClient, isLast: boolean): Promise<Uint8Array> =>
      client.ask(
        contentRequest(client, target.digest, isManifest, call),
        async (answer) => {
          if (answer.response.statusCode !== 200) throw await refusal("GET", answer, client, target.digest, isManifest);
          return readContent(answer.response, answer.url, target, call?.signal);
        },
        isLast,
      );
    return this.#session.first("pull", "digest", attempt, call?.signal);
  }

  async open(target: Descriptor, range: ByteRange, call?: CallOptions): Promise<OpenBlob> {
    const { start, end } = range;
    if (start < 0 || end > target.size || start >= end)
      throw new Failure(
        "OUT_OF_RANGE",
        "INVALID_RANGE",
        `${target.digest} has no bytes ${start} to ${end}: it has ${target.size}`,
      );
    const attempt = (client: EndpointClient, isLast: boolean): Promise<OpenBlob> =>
      this.#openAt(client, target, range, isLast, call);
    return this.#session.first("pull", "digest", attempt, call?.signal, target);
  }

  async *referrers(subject: Descriptor, call?: CallOptions): AsyncGenerator<Descriptor, void, undefined> {
    const attempt = async (client: EndpointClient, isLast: boolean): Promise<readonly Descriptor[]> =>
      (await this.#referrersAt(client, subject.digest, isLast, call)) ??
      (await this.#referrersByTag(client, subject.digest, isLast, call));
    yield* await this.#session.first("pull", "digest", attempt, call?.signal);
  }

  async #resolveAt(
    client: EndpointClient,
    reference: Reference,
    isLast: boolean,
    call?: CallOptions,
  ): Promise<Descriptor> {
    const signal = call?.signal;
    const name = reference.digest ?? reference.tag ?? "latest";
    const request: ApiRequest = {
      method: "HEAD",
      path: `/${client.endpoint.repository}/manifests/${name}`,
      headers: { accept: ACCEPT },
      signal,
      onWaiting: call?.onWaiting,
    };
    const notFound = { reason: "MANIFEST_UNKNOWN", message: `${formatReference(reference)}: not found` };
    const head = await client.send(request, isLast);
    const { statusCode, headers } = head.response;
    const digest = headers["docker-content-digest"];
    const size = Number(headers["content-length"]);
    const mediaType = mediaTypeOf(headers["content-type"]);
    if (statusCode === 200 && typeof digest === "string" && isDigest(digest) && size > 0) {
      await head.response.body.dump();
      const isComparable = reference.digest === undefined || algorithmOf(reference.digest) === algorithmOf(digest);
      if (isComparable) mustAgree(digest, reference.digest, client);
      return { mediaType, digest: reference.digest ?? digest, size };
    }
    if (statusCode === 401 || statusCode === 403 || statusCode === 404 || isPassing(statusCode))
      throw await statusFailure("HEAD", head.url, head.response, {
        secrets: client.secrets,
        refused: client.refused,
        notFound,
      });
    // Some registries answer HEAD without a digest, or not at all.
    await head.response.body.dump();
    const get = await client.send({ ...request, method: "GET" }, isLast);
    if (get.response.statusCode !== 200)
      throw await statusFailure("GET", get.url, get.response, {
        secrets: client.secrets,
        refused: client.refused,
        notFound,
      });
    const bytes = await readAll(get.response, get.url, MANIFEST_LIMIT, signal);
    const actual = digestOf(bytes, reference.digest === undefined ? "sha256" : algorithmOf(reference.digest));
    const claimed = get.response.headers["docker-content-digest"];
    if (typeof claimed === "string" && isDigest(claimed) && algorithmOf(claimed) === algorithmOf(actual))
      mustAgree(actual, claimed, client);
    mustAgree(actual, reference.digest, client);
    return { mediaType: mediaTypeOf(get.response.headers["content-type"]), digest: actual, size: bytes.length };
  }

  async #openAt(
    client: EndpointClient,
    target: Descriptor,
    range: ByteRange,
    isLast: boolean,
    call: CallOptions | undefined,
  ): Promise<OpenBlob> {
    const { start, end } = range;
    const isWhole = start === 0 && end === target.size;
    const request = { ...contentRequest(client, target.digest, false, call), isBulk: true };
    const ranged = isWhole
      ? request
      : { ...request, headers: { ...request.headers, range: `bytes=${start}-${end - 1}` } };
    let answer = await client.send(ranged, isLast);
    if (answer.response.statusCode === 416) {
      // The range is inside the blob, so this server means "no ranges"; a blob that is shorter shows in the next answer.
      await answer.response.body.dump();
      answer = await client.send(request, isLast);
    }
    const { response, url } = answer;
    if (response.statusCode !== 200 && response.statusCode !== 206)
      throw await refusal("GET", answer, client, target.digest, false);
    try {
      const got = extent(response.statusCode, response.headers, range, target, url);
      const bytes = exactly(response.body, got.end - got.start, {
        digest: target.digest,
        url,
        signal: call?.signal,
        onBroken: () => this.#session.blame(client),
        onWhole: () => this.#session.sent(client, target, got.end - got.start),
      });
      const release = response.body.release?.bind(response.body);
      return { start: got.start, body: bytes, ...(release === undefined ? {} : { release }) };
    } catch (error) {
      response.body.destroy();
      throw error;
    }
  }

  /** Undefined where the registry does not know the referrers API. */
  async #referrersAt(
    client: EndpointClient,
    digest: Digest,
    isLast: boolean,
    call: CallOptions | undefined,
  ): Promise<readonly Descriptor[] | undefined> {
    const found: Descriptor[] = [];
    let path: string | URL = `/${client.endpoint.repository}/referrers/${digest}`;
    for (let page = 0; page < PAGE_LIMIT; page++) {
      const answer: ApiResponse = await client.send(
        { method: "GET", path, headers: { accept: MEDIA.index }, signal: call?.signal },
        isLast,
      );
      const { statusCode, headers } = answer.response;
      if (page === 0 && (statusCode === 404 || statusCode === 405 || statusCode === 501)) {
        await answer.response.body.dump();
        return undefined;
      }
      if (statusCode !== 200) throw await refusal("GET", answer, client, digest, true);
      const index = parseManifest(
        await readAll(answer.response, answer.url, MANIFEST_LIMIT, call?.signal),
        MEDIA.index,
      );
      if (index.kind === "index") found.push(...index.manifests);
      const next = nextPage(headers["link"], answer.url);
      if (next === undefined || next.origin !== answer.url.origin) return found;
      path = next;
    }
    return found;
  }

  async #referrersByTag(
    client: EndpointClient,
    digest: Digest,
    isLast: boolean,
    call: CallOptions | undefined,
  ): Promise<readonly Descriptor[]> {
    const path = `/${client.endpoint.repository}/manifests/${referrersTag(digest)}`;
    const answer = await client.send(
      { method: "GET", path, headers: { accept: MEDIA.index }, signal: call?.signal },
      isLast,
    );
    if (answer.response.statusCode === 404) {
      await answer.response.body.dump();
      return [];
    }
    if (answer.response.statusCode !== 200) throw await refusal("GET", answer, client, digest, true);
    const index = parseManifest(await readAll(answer.response, answer.url, MANIFEST_LIMIT, call?.signal), MEDIA.index);
    return index.kind === "index" ? index.manifests : [];
  }
}

function contentRequest(
  client: EndpointClient,
  digest: Digest,
  isManifest: boolean,
  call: CallOptions | undefined,
): ApiRequest {
  const path = `/${client.endpoint.repository}/${isManifest ? "manifests" : "blobs"}/${digest}`;
  const headers = { accept: isManifest ? ACCEPT : "*/*" };
  return { method: "GET", path, headers, signal: call?.signal, onWaiting: call?.onWaiting };
}

function refusal(
  method: string,
  answer: ApiResponse,
  client: EndpointClient,
  digest: Digest,
  isManifest: boolean,
): Promise<Failure> {
  const { host, repository } = client.endpoint;
  const notFound = isManifest
    ? { reason: "MANIFEST_UNKNOWN", message: `${host}/${repository}@${digest}: not found` }
    : { reason: "BLOB_UNKNOWN", message: `${host}/${repository} has no blob ${digest}: not found` };
  return statusFailure(method, answer.url, answer.response, {
    secrets: client.secrets,
    refused: client.refused,
    notFound,
  });
}

/** Where the bytes of an answer belong. @throws Failure where its headers contradict the request or the descriptor. */
function extent(
  status: number,
  headers: ApiResponse["response"]["headers"],
  asked: ByteRange,
  target: Descriptor,
  url: URL,
): ByteRange {
  const encoding = headers["content-encoding"];
  if (encoding !== undefined && encoding !== "identity")
    throw new Failure(
      "UNAVAILABLE",
      "ENCODED_ANSWER",
      `${url.host} sent ${target.digest} encoded as ${String(encoding)}, which was not asked for`,
    );
  const length = headers["content-length"] === undefined ? undefined : Number(headers["content-length"]);
  if (status === 200) {
    if (length === undefined || length === target.size) return { start: 0, end: target.size };
    throw new Failure(
      "DATA_LOSS",
      "SIZE_MISMATCH",
      `${url.host} has ${length} bytes for ${target.digest}, which has ${target.size}`,
    );
  }
  const range = parseContentRange(headers["content-range"]);
  if (range?.total !== undefined && range.total !== target.size)
    throw new Failure(
      "DATA_LOSS",
      "SIZE_MISMATCH",
      `${url.host} has ${range.total} bytes for ${target.digest}, which has ${target.size}`,
    );
  const isUsable = range !== undefined && range.start === asked.start && range.end <= target.size;
  if (!isUsable || (length !== undefined && length !== range.end - range.start))
    throw new Failure(
      "UNAVAILABLE",
      "WRONG_RANGE",
      `${url.host} answered the request for bytes ${asked.start}-${asked.end - 1} of ${target.digest} with Content-Range ${JSON.stringify(headers["content-range"] ?? "")} and Content-Length ${length ?? "none"}`,
    );
  return range;
}

function mustAgree(actual: Digest, wanted: Digest | undefined, client: EndpointClient): void {
  if (wanted !== undefined && actual !== wanted)
    throw new Failure(
      "DATA_LOSS",
      "DIGEST_MISMATCH",
      `${client.endpoint.host} answered the request for ${wanted} with ${actual}`,
    );
}

function mediaTypeOf(header: string | readonly string[] | undefined): string {
  return (typeof header === "string" ? (header.split(";")[0] ?? "") : "").trim().toLowerCase();
}
