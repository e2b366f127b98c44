import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { digestOf, MEDIA, type Descriptor, type Digest } from "#oci";

/** What a test may do with a request before the registry sees it: answer it (true), or let it pass. */
export type Intercept = (
  request: IncomingMessage,
  response: ServerResponse,
) => boolean | undefined | Promise<boolean | undefined>;

export interface FakeRegistry extends AsyncDisposable {
  readonly url: string;
  readonly host: string;
  readonly blobs: Map<string, Buffer>;
  /** By `repository@digest` and `repository:tag`. */
  readonly manifests: Map<string, { readonly mediaType: string; readonly bytes: Buffer }>;
  /** `GET /v2/x/y/blobs/sha256:…`, in order. */
  readonly log: string[];
  readonly requests: { readonly method: string; readonly url: string; readonly headers: IncomingMessage["headers"] }[];
  /** Called for every request, in the order in which they were added; the first that says true has answered it. */
  readonly intercepts: Intercept[];
  putBlob(bytes: Uint8Array | string, mediaType?: string): Descriptor;
  putManifest(repository: string, tag: string | undefined, manifest: object, mediaType?: string): Descriptor;
}

export interface FakeRegistryOptions {
  /** A password that every request must show. */
  readonly basic?: { readonly username: string; readonly password: string };
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca?: string };
  /** Whether it answers the referrers API, as distribution-spec 1.1 has it. */
  readonly referrers?: boolean;
}

/** A registry in this process, kept in memory, whose every request a test may break. */
export async function startFakeRegistry(options: FakeRegistryOptions = {}): Promise<FakeRegistry> {
  const state = new State(options);
  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    state.handle(request, response).catch((error: unknown) => response.destroy(error as Error));
  };
  const { tls } = options;
  const server: Server =
    tls === undefined
      ? createServer(handle)
      : createTlsServer(
          { ...tls, requestCert: tls.ca !== undefined, rejectUnauthorized: tls.ca !== undefined },
          handle,
        );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const host = `127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
  return {
    url: `${tls === undefined ? "http" : "https"}://${host}`,
    host,
    blobs: state.blobs,
    manifests: state.manifests,
    log: state.log,
    requests: state.requests,
    intercepts: state.intercepts,
    putBlob: (bytes, mediaType = "application/octet-stream") => state.putBlob(Buffer.from(bytes), mediaType),
    putManifest: (repository, tag, manifest, mediaType = MEDIA.manifest) =>
      state.putManifest(repository, tag, Buffer.from(JSON.stringify(manifest)), mediaType),
    async [Symbol.asyncDispose]() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

class State {
  readonly blobs = new Map<string, Buffer>();
  readonly manifests = new Map<string, { mediaType: string; bytes: Buffer }>();
  readonly log: string[] = [];
  readonly requests: FakeRegistry["requests"] = [];
  readonly intercepts: Intercept[] = [];
  readonly #options: FakeRegistryOptions;
  readonly #uploads = new Map<string, Buffer[]>();
  #nextUpload = 1;

  constructor(options: FakeRegistryOptions) {
    this.#options = options;
  }

  putBlob(bytes: Buffer, mediaType: string): Descriptor {
    const digest = digestOf(bytes);
    this.blobs.set(digest, bytes);
    return { mediaType, digest, size: bytes.length };
  }

  putManifest(repository: string, tag: string | undefined, bytes: Buffer, mediaType: string): Descriptor {
    const digest = digestOf(bytes);
    this.manifests.set(`${repository}@${digest}`, { mediaType, bytes });
    if (tag !== undefined) this.manifests.set(`${repository}:${tag}`, { mediaType, bytes });
    return { mediaType, digest, size: bytes.length };
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "GET", url: path = "/" } = request;
    this.log.push(`${method} ${path}`);
    this.requests.push({ method, url: path, headers: request.headers });
    for (const intercept of this.intercepts) if ((await intercept(request, response)) === true) return;
    const { basic } = this.#options;
    if (basic !== undefined) {
      const wanted = `Basic ${Buffer.from(`${basic.username}:${basic.password}`).toString("base64")}`;
      if (request.headers.authorization !== wanted)
        return fail(response, 401, "UNAUTHORIZED", { "www-authenticate": 'Basic realm="fake"' });
    }
    const url = new URL(path, "http://fake");
    const [, repository = "", verb, name = ""] =
      /^\/v2\/(.+)\/(manifests|blobs|referrers)\/(.*)$/.exec(url.pathname) ?? [];
    if (verb === "manifests") return this.#manifest(request, response, repository, name);
    if (verb === "referrers" && this.#options.referrers === true) return this.#referrers(response, repository, name);
    if (verb === "blobs" && name.startsWith("uploads/"))
      return this.#upload(request, response, repository, name.slice(8), url);
    if (verb === "blobs") return this.#blob(request, response, name);
    if (url.pathname === "/v2/") return reply(response, 200, Buffer.from("{}"));
    return fail(response, 404, "NOT_FOUND");
  }

  async #manifest(request: IncomingMessage, response: ServerResponse, repository: string, name: string): Promise<void> {
    const isDigest = name.includes(":");
    if (request.method === "PUT") {
      const bytes = await bodyOf(request);
      const mediaType = request.headers["content-type"] ?? "";
      const { digest } = this.putManifest(repository, isDigest ? undefined : name, bytes, mediaType);
      if (isDigest && digest !== name) return fail(response, 400, "DIGEST_INVALID");
      const { subject } = JSON.parse(bytes.toString()) as { subject?: { digest: string } };
      const indexed =
        this.#options.referrers === true && subject !== undefined ? { "oci-subject": subject.digest } : {};
      return reply(response, 201, Buffer.alloc(0), { "docker-content-digest": digest, ...indexed });
    }
    const found = this.manifests.get(`${repository}${isDigest ? "@" : ":"}${name}`);
    if (found === undefined) return fail(response, 404, "MANIFEST_UNKNOWN");
    const headers = { "content-type": found.mediaType, "docker-content-digest": digestOf(found.bytes) };
    return reply(response, 200, found.bytes, headers, request.method === "HEAD");
  }

  #referrers(response: ServerResponse, repository: string, digest: string): void {
    const manifests: Descriptor[] = [];
    for (const [key, { mediaType, bytes }] of this.manifests) {
      if (!key.startsWith(`${repository}@`)) continue;
      const { subject } = JSON.parse(bytes.toString()) as { subject?: { digest?: string } };
      if (subject?.digest === digest) manifests.push({ mediaType, digest: digestOf(bytes), size: bytes.length });
    }
    const index = { schemaVersion: 2, mediaType: MEDIA.index, manifests };
    return reply(response, 200, Buffer.from(JSON.stringify(index)), { "content-type": MEDIA.index });
  }

  #blob(request: IncomingMessage, response: ServerResponse, digest: string): void {
    const bytes = this.blobs.get(digest);
    if (bytes === undefined) return fail(response, 404, "BLOB_UNKNOWN");
    const headers = {
      "accept-ranges": "bytes",
      "docker-content-digest": digest,
      "content-type": "application/octet-stream",
    };
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
    if (range === null) return reply(response, 200, bytes, headers, request.method === "HEAD");
    const start = Number(range[1]);
    const end = Math.min(bytes.length, range[2] === "" ? bytes.length : Number(range[2]) + 1);
    if (start >= end) return fail(response, 416, "RANGE_INVALID", { "content-range": `bytes */${bytes.length}` });
    const contentRange = `bytes ${start}-${end - 1}/${bytes.length}`;
    return reply(response, 206, bytes.subarray(start, end), { ...headers, "content-range": contentRange });
  }

  async #upload(
    request: IncomingMessage,
    response: ServerResponse,
    repository: string,
    id: string,
    url: URL,
  ): Promise<void> {
    const parts = this.#uploads.get(id) ?? [];
    const location = (upload: string): string => `/v2/${repository}/blobs/uploads/${upload}?state=${"x".repeat(8)}`;
    const taken = (): number => parts.reduce((sum, part) => sum + part.length, 0);
    if (request.method === "POST") {
      const mount = url.searchParams.get("mount");
      if (mount !== null && this.blobs.has(mount))
        return reply(response, 201, Buffer.alloc(0), { location: `/v2/${repository}/blobs/${mount}` });
      const upload = String(this.#nextUpload++);
      this.#uploads.set(upload, []);
      return reply(response, 202, Buffer.alloc(0), { location: location(upload), range: "0-0" });
    }
    if (!this.#uploads.has(id)) return fail(response, 404, "BLOB_UPLOAD_UNKNOWN");
    if (request.method === "DELETE") {
      this.#uploads.delete(id);
      return reply(response, 204, Buffer.alloc(0));
    }
    if (request.method === "PATCH" && Number(/^(\d+)-/.exec(request.headers["content-range"] ?? "0-")?.[1]) !== taken())
      return fail(response, 416, "RANGE_INVALID");
    if (request.method !== "GET") parts.push(await bodyOf(request));
    if (request.method !== "PUT") {
      const range = `0-${Math.max(0, taken() - 1)}`;
      return reply(response, request.method === "GET" ? 204 : 202, Buffer.alloc(0), { location: location(id), range });
    }
    const bytes = Buffer.concat(parts);
    const digest = url.searchParams.get("digest");
    this.#uploads.delete(id);
    if (digestOf(bytes) !== digest) return fail(response, 400, "DIGEST_INVALID");
    this.blobs.set(digest, bytes);
    return reply(response, 201, Buffer.alloc(0), { location: `/v2/${repository}/blobs/${digest as Digest}` });
  }
}

/** Answers with the registry's own form of an error. */
export function fail(
  response: ServerResponse,
  status: number,
  code: string,
  headers: Record<string, string> = {},
): void {
  const body = Buffer.from(JSON.stringify({ errors: [{ code, message: code.toLowerCase().replaceAll("_", " ") }] }));
  reply(response, status, body, { "content-type": "application/json", ...headers });
}

export function reply(
  response: ServerResponse,
  status: number,
  body: Buffer,
  headers: Record<string, string> = {},
  isHead = false,
): void {
  response.writeHead(status, { ...headers, ...(status === 204 ? {} : { "content-length": String(body.length) }) });
  if (isHead || status === 204) response.end();
  else response.end(body);
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}
