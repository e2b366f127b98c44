import { STATUS_CODES, type IncomingMessage, type ServerResponse } from "node:http";
import { isIP, type AddressInfo } from "node:net";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { Failure, messageOf, silent } from "#base";
import type { KubeObject } from "#k8s";
import { authenticate, type Authenticator } from "./authenticate.ts";
import { authorize, denied } from "./authorize.ts";
import { discoveryRoutes } from "./discovery.ts";
import { keepHouse } from "./housekeeping.ts";
import { actingUser } from "./impersonate.ts";
import { RESOURCES } from "./kinds/index.ts";
import { certificate, createServer, listen, listenAlso } from "./listen.ts";
import { createMetrics } from "./metrics.ts";
import { Objects } from "./objects.ts";
import { policyOf, type ApiServerOptions } from "./options.ts";
import { openApiRoutes } from "./openapi/index.ts";
import { PageNotFound, accessOf, missing, unknownAccess } from "./paths.ts";
import type { ApiHost } from "./ports.ts";
import { sendError, sendPlain } from "./respond.ts";
import { Router, type Access, type ApiRequest, type Match, type User } from "./router.ts";
import { describedBy, resourceRoutes, servedBy } from "./routes.ts";
import { core, methodNotAllowed, notFound, statusOf, StatusError } from "./status.ts";
import { serverRoutes } from "./server-routes.ts";
import { Storage } from "./storage.ts";
import { streamingRoutes, type KubeletIdentity } from "./streaming/index.ts";
import { openTokens } from "./tokens.ts";
import { KUBERNETES, versionInfo } from "./versions.ts";

export interface ApiServer extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /**
   * Answers also at this address of the machine, at the same port, and under a certificate that names it. Throws Failure
   * `ADDRESS_IN_USE`, or what the system says.
   */
  listenAt(host: string): Promise<void>;
}

const MAX_BODY = 3 * 1024 * 1024;
const TOKEN_ISSUER = "https://kubernetes.default.svc";
const NODE_GRACE = 40_000;
const RENEW_EVERY = 24 * 60 * 60 * 1000;

/**
 * Starts the API server; what it returns has been bound and answers. Disposing it ends all watches and streams, closes the
 * port and the storage. Throws Failure `ADDRESS_IN_USE`, `STORAGE_UNUSABLE` or `INVALID_FLAG`.
 */
export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const { host = "127.0.0.1", port = 0, pki, kubeletCa, log = silent } = options;
  const policy = policyOf(options);
  if (pki === undefined && host !== "localhost" && !host.startsWith("127.") && host !== "::1")
    throw new Failure(
      "INVALID_ARGUMENT",
      "INVALID_FLAG",
      `the API server speaks plain HTTP on loopback only, not at ${host}`,
    );
  await using cleanup = new AsyncDisposableStack();
  const path = join(options.dataDir, "apiserver.db");
  const storage = cleanup.adopt(new Storage(path, options.history), (opened) => opened.close());
  const objects = new Objects(storage, policy);
  const { nodeMonitorGracePeriod = NODE_GRACE, missingNodeGracePeriod = NODE_GRACE } = options;
  const patience = { node: nodeMonitorGracePeriod, missingNode: missingNodeGracePeriod };
  cleanup.use(keepHouse(objects, RESOURCES, patience, log, pki?.ca));
  const stored = new Map(
    RESOURCES.filter((resource) => resource.group === "").map((resource) => [resource.resource, resource]),
  );
  const apiHost: ApiHost = {
    log,
    // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- as in the port
    get<T extends KubeObject>(resource: string, namespace: string, name: string): T {
      const found = stored.get(resource);
      if (found === undefined) throw notFound(core(resource), name);
      return { kind: found.kind, apiVersion: "v1", ...objects.get(found, namespace, name).object } as T;
    },
  };
  const fixed = options.bearers ?? new Map();
  const tokens = options.tokens ?? (await openTokens({ directory: options.dataDir, issuer: TOKEN_ISSUER }));
  const authenticator: Authenticator = { fixed, tokens, host: apiHost };
  const metrics = createMetrics(storage, RESOURCES);
  const router = new Router();
  const served = servedBy(RESOURCES);
  router.add(
    ...resourceRoutes(objects, RESOURCES, { storage, host: apiHost, tokens, fixed }),
    ...discoveryRoutes(served),
    ...(tokens.routes ?? []),
    ...openApiRoutes(describedBy(RESOURCES), `v${KUBERNETES}`),
    ...serverRoutes(versionInfo(options.emulatedVersion), metrics),
  );
  const kubeletCredential = async (): Promise<KubeletIdentity> => {
    if (pki === undefined) return { cert: "", key: "" };
    const own = await pki.clientCertificate({ commonName: "orlop-apiserver", organizations: ["system:masters"] });
    return { ...own, ...(kubeletCa === undefined ? {} : { ca: kubeletCa }) };
  };
  router.add(...streamingRoutes(apiHost, kubeletCredential));

  const closing = new AbortController();
  const server = await createServer(options);
  server.keepAliveTimeout = 120_000;
  server.headersTimeout = 60_000;
  server.requestTimeout = 0;

  /** Authenticates, finds the route and asks for permission. */
  const admit = async (raw: IncomingMessage, signal: AbortSignal): Promise<{ match: Match; request: ApiRequest }> => {
    const url = new URL(raw.url ?? "/", "http://localhost");
    const path = url.pathname.length > 1 ? url.pathname.replace(/\/$/, "") : url.pathname;
    const asking = await authenticate(raw, authenticator);
    const permit = (of: User, access: Access): void => {
      const { allowed, reason } = authorize(of, access, storage);
      if (!allowed) throw denied(of, access, reason);
    };
    const user = actingUser(asking, raw, (access) => permit(asking, access));
    const method = raw.method ?? "GET";
    const match = router.find(method, path);
    const known = typeof match !== "string";
    const access = known ? accessOf(match, method, path, url.searchParams) : unknownAccess(method, path);
    permit(user, access);
    if (!known) throw match === "no method" ? methodNotAllowed() : missing(path);
    let body: Promise<Buffer> | undefined;
    const { params } = match;
    return {
      match,
      request: {
        method,
        path,
        query: url.searchParams,
        params,
        user,
        signal,
        raw,
        body: () => (body ??= readAll(raw)),
      },
    };
  };

  const answer = async (raw: IncomingMessage, response: ServerResponse): Promise<void> => {
    const done = new AbortController();
    response.once("close", () => done.abort());
    const started = performance.now();
    try {
      const { match, request } = await admit(raw, AbortSignal.any([closing.signal, done.signal]));
      response.once("close", () =>
        metrics.observe(match, request, response.statusCode, (performance.now() - started) / 1000),
      );
      await match.route.handle(request, response);
    } catch (error) {
      if (error instanceof PageNotFound) sendPlain(response, 404, "404 page not found\n");
      else {
        if (!(error instanceof StatusError))
          log.error({ path: raw.url?.split("?")[0], error: messageOf(error) }, "a request failed");
        sendError(response, error);
      }
    } finally {
      if (!raw.complete && !raw.destroyed) raw.resume();
    }
  };
  server.on("request", (raw, response) => void answer(raw, response));
  server.on("upgrade", (raw, socket: Duplex, head: Buffer) => void upgrade(raw, socket, head));

  const upgrade = async (raw: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> => {
    const done = new AbortController();
    socket.once("close", () => done.abort());
    socket.on("error", () => done.abort());
    try {
      const { match, request } = await admit(raw, AbortSignal.any([closing.signal, done.signal]));
      if (match.route.upgrade === undefined) throw new StatusError(400, "BadRequest", "Upgrade request required");
      await match.route.upgrade(request, socket, head);
    } catch (error) {
      refuse(socket, error);
    }
  };

  await listen(server, host, port);
  cleanup.defer(async () => {
    closing.abort();
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  });
  const names = [...(options.names ?? [])];
  const renew = async (): Promise<void> => {
    if (pki === undefined || !("setSecureContext" in server)) return;
    const credential = await certificate({ ...options, names });
    (server as import("node:https").Server).setSecureContext({ ...credential, ca: pki.ca });
  };
  const renewal = setInterval(() => {
    renew().catch((error: unknown) => log.warn({ error: messageOf(error) }, "renewing the server certificate failed"));
  }, RENEW_EVERY).unref();
  cleanup.defer(() => clearInterval(renewal));
  const owned = cleanup.move();
  const bound = (server.address() as AddressInfo).port;
  const shown = isIP(host) === 6 ? `[${host}]` : host === "0.0.0.0" ? "127.0.0.1" : host;
  return {
    url: `${pki === undefined ? "http" : "https"}://${shown}:${bound}`,
    port: bound,
    async listenAt(address) {
      names.push(address);
      await renew();
      if (host !== "0.0.0.0" && host !== "::" && host !== address) owned.use(await listenAlso(server, address, bound));
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function readAll(raw: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of raw as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY)
      throw new StatusError(413, "RequestEntityTooLarge", `Request entity too large: limit is ${MAX_BODY}`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Answers on a bare connection, as nothing else has been written to it. */
function refuse(socket: Duplex, error: unknown): void {
  if (socket.destroyed || !socket.writable) return;
  const status = error instanceof PageNotFound ? undefined : statusOf(error);
  const code = status?.code ?? 404;
  const text = status === undefined ? "404 page not found\n" : `${JSON.stringify(status)}\n`;
  const type = status === undefined ? "text/plain; charset=utf-8" : "application/json";
  socket.end(
    `HTTP/1.1 ${code} ${STATUS_CODES[code] ?? ""}\r\nContent-Type: ${type}\r\nContent-Length: ${Buffer.byteLength(text)}\r\nConnection: close\r\n\r\n${text}`,
  );
}
