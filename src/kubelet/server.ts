import { createServer, type Server } from "node:https";
import type { IncomingMessage, ServerResponse } from "node:http";
import { connect, type AddressInfo, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";
import { Failure, messageOf } from "#base";
import type { Pod } from "#k8s";
import { joinStreams } from "#wire";
import { authorizeCaller } from "./authorize-caller.ts";
import type { Kubelet } from "./context.ts";
import { uidOf } from "./pod.ts";
import { newestOf, readySandbox, viewPod } from "./pod-view.ts";
import type { Pods } from "./pods.ts";
import { readLog } from "./read-log.ts";
import { resourceMetrics } from "./resource-metrics.ts";
import { statsSummary } from "./stats.ts";

export interface KubeletServerOptions {
  readonly host: string;
  /** 0: any. */
  readonly port: number;
  readonly certificate: { readonly cert: string; readonly key: string };
  /** Who signs callers' certificates; a caller without one may show a bearer token. PEM */
  readonly clientCa: string;
}

export interface KubeletServer extends AsyncDisposable {
  readonly port: number;
  /** Shows this certificate from the next connection on. */
  renew(certificate: KubeletServerOptions["certificate"]): void;
  /** What is served, once there is something to serve. Until then every request but /healthz answers 503. */
  serve(kubelet: Kubelet, pods: Pods): void;
}

/** The kubelet's own HTTPS API: what an API server forwards exec, attach, logs and port-forward to. */
export async function startKubeletServer(options: KubeletServerOptions): Promise<KubeletServer> {
  let door: Door | undefined;
  const sockets = new Set<Duplex>();
  const server: Server = createServer(
    {
      cert: options.certificate.cert,
      key: options.certificate.key,
      ca: options.clientCa,
      requestCert: true,
      // Who shows no certificate may have a token.
      rejectUnauthorized: false,
    },
    (request, response) => {
      answer(door, request, response).catch((error: unknown) => refuse(response, error));
    },
  );
  server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on("error", () => socket.destroy());
    tunnel(door, request, socket, head, sockets).catch((error: unknown) => {
      const [status, text] = httpOf(error);
      socket.end(
        `HTTP/1.1 ${status} Refused\r\ncontent-type: text/plain\r\ncontent-length: ${Buffer.byteLength(text)}\r\nconnection: close\r\n\r\n${text}`,
      );
    });
  });
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const why = error.code === "EADDRINUSE" ? "is in use" : `cannot be listened at (${error.code})`;
      reject(new Failure("FAILED_PRECONDITION", "NO_PORT", `kubelet port ${options.host}:${options.port} ${why}`));
    });
    server.listen(options.port, options.host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    renew: ({ cert, key }) => server.setSecureContext({ cert, key, ca: options.clientCa }),
    serve(kubelet, pods) {
      door = { kubelet, pods };
    },
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

interface Door {
  readonly kubelet: Kubelet;
  readonly pods: Pods;
}

async function answer(door: Door | undefined, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? "/", "http://kubelet");
  const path = url.pathname.split("/").filter((part) => part !== "");
  if (path[0] === "healthz") return void response.end("ok");
  const { kubelet, pods } = opened(door);
  await authorizeCaller(kubelet, request);
  switch (path[0]) {
    case "pods":
      return json(response, { apiVersion: "v1", kind: "PodList", metadata: {}, items: pods.list() });
    case "metrics": {
      if (path.length > 1 && path[1] !== "resource") throw new Failure("NOT_FOUND", "NO_PATH", "404 page not found");
      const registry = path[1] === "resource" ? await resourceMetrics(kubelet, pods.list()) : kubelet.metrics.registry;
      response.setHeader("content-type", registry.contentType);
      return void response.end(await registry.metrics());
    }
    case "stats":
      return json(response, await statsSummary(kubelet, pods.list()));
    case "containerLogs":
      return await containerLogs({ kubelet, pods }, path.slice(1), url.searchParams, request, response);
    case "exec":
    case "attach":
    case "portForward":
      throw new Failure(
        "INVALID_ARGUMENT",
        "NO_UPGRADE",
        "you must specify at least 1 of stdin, stdout, stderr, over a connection that upgrades",
      );
    case undefined:
    default:
      throw new Failure("NOT_FOUND", "NO_PATH", "404 page not found");
  }
}

async function containerLogs(
  { kubelet, pods }: Door,
  [namespace = "", name = "", container = ""]: readonly string[],
  query: URLSearchParams,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const pod = found(pods.find(namespace, name), namespace, name);
  const view = await viewPod(kubelet.runtime, uidOf(pod));
  const all = view.containers.filter((one) => one.name === container);
  const previous = flag(query, "previous");
  const wanted = previous ? all.filter(({ state }) => state === "exited")[all[0]?.state === "exited" ? 1 : 0] : all[0];
  if (!wanted) {
    const what = previous ? "previous terminated container" : "container";
    throw new Failure(
      "INVALID_ARGUMENT",
      "NO_CONTAINER",
      `${what} ${JSON.stringify(container)} in pod ${JSON.stringify(name)} not found`,
    );
  }
  const number = (key: string): number | undefined => (query.has(key) ? Number(query.get(key)) : undefined);
  const sinceSeconds = number("sinceSeconds");
  const sinceTime = query.get("sinceTime");
  const abort = new AbortController();
  response.once("close", () => abort.abort());
  response.setHeader("content-type", "text/plain");
  const lines = readLog(wanted.status.logPath, {
    follow: flag(query, "follow"),
    tailLines: number("tailLines"),
    limitBytes: number("limitBytes"),
    timestamps: flag(query, "timestamps"),
    stream: streamOf(query.get("stream")),
    since: sinceTime
      ? Date.parse(sinceTime)
      : sinceSeconds === undefined
        ? undefined
        : Date.now() - sinceSeconds * 1000,
    signal: abort.signal,
    isRunning: async () => {
      const { status } = await kubelet.runtime.containerStatus({ containerId: wanted.id, verbose: false });
      return status?.state === 1;
    },
  });
  if (flag(query, "follow")) response.flushHeaders();
  request.resume();
  await pipeline(Readable.from(lines), response).catch((error: unknown) => {
    if (!abort.signal.aborted) throw error;
  });
}

const streamOf = (stream: string | null): "stdout" | "stderr" | undefined =>
  stream === "Stdout" ? "stdout" : stream === "Stderr" ? "stderr" : undefined;

/** Asks the runtime for a streaming address and lets both sides talk: what upgrades this connection is the runtime's. */
async function tunnel(
  door: Door | undefined,
  request: IncomingMessage,
  client: Duplex,
  head: Buffer,
  sockets: Set<Duplex>,
): Promise<void> {
  const url = new URL(request.url ?? "/", "http://kubelet");
  const open = opened(door);
  await authorizeCaller(open.kubelet, request);
  const target = new URL(await streamingUrl(open, url));
  const upstream = connect({ host: target.hostname.replace(/^\[|\]$/g, ""), port: Number(target.port || 80) });
  sockets.add(upstream);
  upstream.once("close", () => sockets.delete(upstream));
  await new Promise<void>((resolve, reject) => {
    upstream.once("connect", resolve);
    upstream.once("error", reject);
  });
  const lines = [`${request.method ?? "POST"} ${target.pathname}${target.search} HTTP/1.1`, `Host: ${target.host}`];
  for (let i = 0; i + 1 < request.rawHeaders.length; i += 2) {
    const name = request.rawHeaders[i] ?? "";
    if (!/^(host|authorization)$/i.test(name)) lines.push(`${name}: ${request.rawHeaders[i + 1]}`);
  }
  upstream.setNoDelay(true);
  upstream.write(`${lines.join("\r\n")}\r\n\r\n`);
  upstream.write(head);
  await joinStreams(client, upstream);
}

async function streamingUrl({ kubelet, pods }: Door, url: URL): Promise<string> {
  const [kind, namespace = "", name = "", ...rest] = url.pathname.split("/").filter((part) => part !== "");
  const { runtime } = kubelet;
  const query = url.searchParams;
  const pod = found(pods.find(namespace, name), namespace, name);
  const view = await viewPod(runtime, uidOf(pod));
  if (kind === "portForward") {
    const sandbox = readySandbox(view);
    if (!sandbox) throw new Failure("FAILED_PRECONDITION", "NO_SANDBOX", `pod ${name} does not run`);
    const port = query.getAll("port").map(Number);
    return (await runtime.portForward({ podSandboxId: sandbox.id, port })).url;
  }
  // With the Pod's uid between its name and the container's, or without.
  const container = rest.at(-1) ?? "";
  const target = newestOf(view, container);
  if (!target) throw new Failure("NOT_FOUND", "NO_CONTAINER", `container not found (${JSON.stringify(container)})`);
  const tty = flag(query, "tty");
  const streams = {
    tty,
    stdin: flag(query, "input") || flag(query, "stdin"),
    stdout: flag(query, "output") || flag(query, "stdout"),
    // A terminal has one output only.
    stderr: !tty && (flag(query, "error") || flag(query, "stderr")),
  };
  const containerId = target.id;
  if (kind === "exec") return (await runtime.exec({ containerId, cmd: query.getAll("command"), ...streams })).url;
  if (kind === "attach") return (await runtime.attach({ containerId, ...streams })).url;
  throw new Failure("NOT_FOUND", "NO_PATH", "404 page not found");
}

const flag = (query: URLSearchParams, name: string): boolean => ["1", "true"].includes(query.get(name) ?? "");

function opened(door: Door | undefined): Door {
  if (!door) throw new Failure("UNAVAILABLE", "STARTING", "the kubelet is starting");
  return door;
}

function found(pod: Pod | undefined, namespace: string, name: string): Pod {
  if (!pod) throw new Failure("NOT_FOUND", "NO_POD", `pod does not exist: ${namespace}/${name}`);
  return pod;
}

function json(response: ServerResponse, body: object): void {
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify(body));
}

const STATUS: Readonly<Record<string, number>> = {
  NOT_FOUND: 404,
  INVALID_ARGUMENT: 400,
  UNAUTHENTICATED: 401,
  PERMISSION_DENIED: 403,
  UNAVAILABLE: 503,
};

function httpOf(error: unknown): [number, string] {
  return [(error instanceof Failure ? STATUS[error.code] : undefined) ?? 500, messageOf(error)];
}

function refuse(response: ServerResponse, error: unknown): void {
  const [status, text] = httpOf(error);
  if (response.headersSent) {
    response.destroy();
    return;
  }
  response.writeHead(status, { "content-type": "text/plain" });
  response.end(text);
}
