import http from "node:http";
import https from "node:https";
import { createSecureContext } from "node:tls";
import { type CallOptions, type Code, Failure, messageOf } from "#base";
import type { KubeObject, Status } from "#k8s";

/** How to reach an API server. Certificates and keys are PEM. */
export interface KubeClientOptions {
  /** `https://127.0.0.1:6443` */
  readonly server: string;
  readonly ca?: string | Buffer | undefined;
  readonly cert?: string | Buffer | undefined;
  readonly key?: string | Buffer | undefined;
  /**
   * What reads `cert` and `key` anew, asked before each request: where they stand in files that others renew. A pair that does not
   * fit, since one file was written and the other not yet, is passed over.
   */
  readonly renewed?: (() => { readonly cert: string; readonly key: string }) | undefined;
  /** A bearer token, or what reads a fresh one for each request. */
  readonly token?: string | (() => string) | undefined;
  readonly insecureSkipTlsVerify?: boolean | undefined;
  /** The name to check the server's certificate against, where it is not the URL's. */
  readonly serverName?: string | undefined;
  readonly userAgent?: string | undefined;
  /** Of one request that is no watch, in milliseconds. */
  readonly timeoutMs?: number | undefined;
}

export type PatchType = "merge" | "strategic" | "json" | "apply";
export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

export interface KubeList<T> {
  readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string };
  readonly items: readonly T[];
}

export type WatchEventType = "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";

export interface WatchEvent<T> {
  readonly type: WatchEventType;
  readonly object: T;
}

/** One standard API request per call. Paths are whole (`/api/v1/namespaces/x/pods/y`). What the server refuses is a
 * Failure whose reason is the Status's (`NotFound`, `Conflict`, `Expired` …); what does not reach it is `UNREACHABLE`. */
export interface KubeClient extends Disposable {
  get<T = KubeObject>(path: string, query?: Query, call?: CallOptions): Promise<T>;
  /** All pages. */
  list<T = KubeObject>(path: string, query?: Query, call?: CallOptions): Promise<KubeList<T>>;
  /** One watch request, until the server or the signal ends it. @throws Failure `Expired` on 410 */
  watch<T = KubeObject>(path: string, query?: Query, call?: CallOptions): AsyncIterable<WatchEvent<T>>;
  create<T = KubeObject>(path: string, body: object, query?: Query, call?: CallOptions): Promise<T>;
  update<T = KubeObject>(path: string, body: object, query?: Query, call?: CallOptions): Promise<T>;
  patch<T = KubeObject>(path: string, body: object, type?: PatchType, query?: Query, call?: CallOptions): Promise<T>;
  delete<T = KubeObject>(path: string, options?: object, call?: CallOptions): Promise<T>;
}

const PATCH_TYPES: Readonly<Record<PatchType, string>> = {
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
  json: "application/json-patch+json",
  apply: "application/apply-patch+yaml",
};

const MAX_BODY = 64 << 20;

/** Keeps connections open between calls; dispose closes them. */
export function createKubeClient(options: KubeClientOptions): KubeClient {
  const base = new URL(options.server);
  const secure = base.protocol === "https:";
  let credential = { cert: options.cert, key: options.key };
  const newAgent = (): http.Agent => {
    const settings = { keepAlive: true, maxSockets: 64 };
    return secure
      ? new https.Agent({ ...settings, ...tlsOf({ ...options, ...credential }) })
      : new http.Agent(settings);
  };
  let agent = newAgent();

  /** With the newest certificate. What runs under the one before, a watch say, runs on. */
  const freshAgent = (): http.Agent => {
    if (!secure || !options.renewed) return agent;
    try {
      const renewed = options.renewed();
      if (renewed.cert === credential.cert && renewed.key === credential.key) return agent;
      createSecureContext(renewed);
      credential = renewed;
    } catch {
      return agent;
    }
    for (const idle of Object.values(agent.freeSockets).flat()) idle?.destroy();
    return (agent = newAgent());
  };

  const send = (
    method: string,
    path: string,
    query: Query | undefined,
    body: { readonly type: string; readonly text: string } | undefined,
    signal: AbortSignal | undefined,
  ): Promise<http.IncomingMessage> =>
    new Promise((resolve, reject) => {
      const headers: Record<string, string | number> = {
        accept: "application/json",
        "user-agent": options.userAgent ?? "orlop",
      };
      const token = typeof options.token === "function" ? options.token() : options.token;
      if (token) headers.authorization = `Bearer ${token}`;
      if (body) {
        headers["content-type"] = body.type;
        headers["content-length"] = Buffer.byteLength(body.text);
      }
      const request = (secure ? https : http).request(
        {
          host: base.hostname.replace(/^\[|\]$/g, ""),
          port: base.port || (secure ? 443 : 80),
          method,
          path: base.pathname.replace(/\/$/, "") + path + searchOf(query),
          headers,
          agent: freshAgent(),
          ...(signal ? { signal } : {}),
        },
        resolve,
      );
      request.on("error", (error) => {
        reject(signal?.aborted ? (signal.reason as Error) : unreachable(base, error));
      });
      request.end(body?.text);
    });

  const call = async <T>(
    method: string,
    path: string,
    query: Query | undefined,
    body: { readonly type: string; readonly text: string } | undefined,
    signal: AbortSignal | undefined,
  ): Promise<T> => {
    const deadline = AbortSignal.timeout(options.timeoutMs ?? 30_000);
    const both = signal ? AbortSignal.any([signal, deadline]) : deadline;
    try {
      const response = await send(method, path, query, body, both);
      const text = await textOf(response);
      if ((response.statusCode ?? 500) >= 400) throw refusal(response.statusCode ?? 500, text, method, path);
      return (text === "" ? {} : JSON.parse(text)) as T;
    } catch (error) {
      if (deadline.aborted && !signal?.aborted)
        throw new Failure("DEADLINE_EXCEEDED", "UNREACHABLE", `${base.host} did not answer ${method} ${path} in time`);
      if (error instanceof Failure || signal?.aborted) throw error;
      throw unreachable(base, error);
    }
  };
  const json = (body: object, type = "application/json") => ({ type, text: JSON.stringify(body) });

  return {
    get: (path, query, options) => call("GET", path, query, undefined, options?.signal),
    async list<T>(path: string, query?: Query, options?: CallOptions): Promise<KubeList<T>> {
      const items: T[] = [];
      let page = await call<KubeList<T>>("GET", path, { limit: 500, ...query }, undefined, options?.signal);
      items.push(...(page.items ?? []));
      while (page.metadata?.continue) {
        const next = { limit: 500, ...query, continue: page.metadata.continue };
        page = await call<KubeList<T>>("GET", path, next, undefined, options?.signal);
        items.push(...(page.items ?? []));
      }
      return { ...page, items };
    },
    watch: <T>(path: string, query?: Query, options?: CallOptions) =>
      watch<T>(() => send("GET", path, { ...query, watch: true }, undefined, options?.signal), path, base),
    create: (path, body, query, options) => call("POST", path, query, json(body), options?.signal),
    update: (path, body, query, options) => call("PUT", path, query, json(body), options?.signal),
    patch: (path, body, type = "merge", query, options) =>
      call("PATCH", path, query, json(body, PATCH_TYPES[type]), options?.signal),
    delete: (path, body, options) => call("DELETE", path, undefined, body ? json(body) : undefined, options?.signal),
    [Symbol.dispose]() {
      agent.destroy();
    },
  };
}

/** `/api/v1/namespaces/default/pods/web/status`, `/apis/apps/v1/deployments` … */
export function kubePath(groupVersion: string, resource: string, at?: KubeLocation): string {
  const root = groupVersion.includes("/") ? `/apis/${groupVersion}` : `/api/${groupVersion}`;
  const parts = [
    ...(at?.namespace ? ["namespaces", at.namespace] : []),
    resource,
    ...(at?.name ? [at.name] : []),
    ...(at?.subresource ? [at.subresource] : []),
  ];
  return `${root}/${parts.map(encodeURIComponent).join("/")}`;
}

export interface KubeLocation {
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
  readonly subresource?: string | undefined;
}

function tlsOf(options: KubeClientOptions): https.AgentOptions {
  return {
    ...(options.ca ? { ca: options.ca } : {}),
    ...(options.cert ? { cert: options.cert } : {}),
    ...(options.key ? { key: options.key } : {}),
    ...(options.insecureSkipTlsVerify ? { rejectUnauthorized: false } : {}),
    ...(options.serverName ? { servername: options.serverName } : {}),
  };
}

function searchOf(query: Query | undefined): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) if (value !== undefined) search.append(name, String(value));
  const text = search.toString();
  return text === "" ? "" : `?${text}`;
}

async function* watch<T>(
  open: () => Promise<http.IncomingMessage>,
  path: string,
  base: URL,
): AsyncGenerator<WatchEvent<T>> {
  const response = await open();
  if ((response.statusCode ?? 500) >= 400)
    throw refusal(response.statusCode ?? 500, await textOf(response), "GET", path);
  let rest = "";
  response.setEncoding("utf8");
  try {
    for await (const chunk of response) {
      const lines = (rest + String(chunk)).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) if (line.trim() !== "") yield eventOf<T>(line, path);
    }
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw unreachable(base, error);
  } finally {
    response.destroy();
  }
}

function eventOf<T>(line: string, path: string): WatchEvent<T> {
  const event = JSON.parse(line) as { type: WatchEventType | "ERROR"; object: T };
  if (event.type === "ERROR") throw refusalOf(event.object as Status, "GET", path);
  return { type: event.type, object: event.object };
}

async function textOf(response: http.IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY)
      throw new Failure("RESOURCE_EXHAUSTED", "TOO_LARGE", `the API server's answer is over ${MAX_BODY} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function refusal(status: number, text: string, method: string, path: string): Failure {
  try {
    const body = JSON.parse(text) as Status;
    if (body.kind === "Status") return refusalOf({ code: status, ...body }, method, path);
  } catch {
    // Not a Status: a proxy or another server answered.
  }
  return refusalOf({ code: status, message: text.slice(0, 200) || `HTTP ${status}` }, method, path);
}

function refusalOf(status: Status, method: string, path: string): Failure {
  const code = status.code ?? 500;
  const reason = status.reason ?? REASONS[code] ?? "InternalError";
  return new Failure(CODES_OF_HTTP[code] ?? "UNKNOWN", reason, status.message ?? `${method} ${path}: HTTP ${code}`, {
    cause: status,
  });
}

const REASONS: Readonly<Record<number, string>> = {
  400: "BadRequest",
  401: "Unauthorized",
  403: "Forbidden",
  404: "NotFound",
  409: "Conflict",
  410: "Expired",
  422: "Invalid",
  429: "TooManyRequests",
  503: "ServiceUnavailable",
};

const CODES_OF_HTTP: Readonly<Record<number, Code>> = {
  400: "INVALID_ARGUMENT",
  401: "UNAUTHENTICATED",
  403: "PERMISSION_DENIED",
  404: "NOT_FOUND",
  409: "ABORTED",
  410: "OUT_OF_RANGE",
  422: "INVALID_ARGUMENT",
  429: "RESOURCE_EXHAUSTED",
  500: "INTERNAL",
  501: "UNIMPLEMENTED",
  503: "UNAVAILABLE",
  504: "DEADLINE_EXCEEDED",
};

function unreachable(base: URL, error: unknown): Failure {
  if (error instanceof Failure) return error;
  return new Failure("UNAVAILABLE", "UNREACHABLE", `API server ${base.host}: ${messageOf(error)}`, { cause: error });
}
