import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { TLSSocket } from "node:tls";
import { acceptWebSocket, openPki, SpdyConnection, type Pki, type SpdyStream, type WebSocketChannel } from "#wire";

/** A kubelet that speaks SPDY and does as a test says. */
export interface FakeKubelet extends AsyncDisposable {
  readonly port: number;
  /** `METHOD path?query` of each request, and the name in its client certificate. */
  readonly asked: { readonly line: string; readonly user: string; readonly headers: IncomingMessage["headers"] }[];
}

export interface FakeKubeletPlan {
  /** Called when all streams of an exec or attach are open, by their type. The connection closes when it returns. */
  readonly command?: (streams: ReadonlyMap<string, SpdyStream>) => Promise<void>;
  /** Called with each stream of a port-forward. */
  readonly forward?: (stream: SpdyStream) => void;
  /** Answers what does not upgrade; by default by 404. */
  readonly plain?: (request: IncomingMessage, response: ServerResponse) => void;
  /** Called with each WebSocket, which its runtime would speak. */
  readonly webSocket?: (channel: WebSocketChannel) => Promise<void>;
  /** Refuses upgrades with this text. */
  readonly refuse?: string;
}

/** Starts one on loopback, with certificates of `directory`'s authority. */
export async function startFakeKubelet(directory: string, plan: FakeKubeletPlan): Promise<FakeKubelet & { pki: Pki }> {
  const pki = await openPki(directory);
  const asked: FakeKubelet["asked"] = [];
  const connections = new Set<SpdyConnection>();
  const note = (request: IncomingMessage): void => {
    const subject = (request.socket as TLSSocket).getPeerCertificate().subject;
    const user = String(subject?.CN ?? "");
    asked.push({ line: `${request.method} ${request.url}`, user, headers: request.headers });
  };
  const server = createServer(
    { ...(await pki.serverCertificate({ dnsNames: [], ips: ["127.0.0.1"] })), ca: pki.ca, requestCert: true },
    (request, response) => {
      note(request);
      if (plan.plain === undefined) response.writeHead(404).end("no such page");
      else plan.plain(request, response);
    },
  );
  server.on("upgrade", (request, socket, head) => {
    note(request);
    socket.on("error", () => {});
    if (plan.refuse !== undefined) {
      socket.end(`HTTP/1.1 404 Not Found\r\nContent-Length: ${plan.refuse.length}\r\n\r\n${plan.refuse}`);
      return;
    }
    if (request.headers.upgrade === "websocket") {
      const chosen = (request.headers["sec-websocket-protocol"] ?? "").split(",")[0] ?? "";
      void acceptWebSocket(request, socket, head, chosen).then((channel) => plan.webSocket?.(channel));
      return;
    }
    const forwarding = request.url?.startsWith("/portForward/");
    const protocol = forwarding ? "portforward.k8s.io" : "v4.channel.k8s.io";
    socket.write(
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n" +
        `X-Stream-Protocol-Version: ${protocol}\r\n\r\n`,
    );
    const query = new URL(request.url ?? "/", "https://x").searchParams;
    const expected = ["input", "output", "error", "tty"].filter((name) => query.has(name)).length + 1;
    const wanted = query.has("tty") && query.has("error") ? expected - 1 : expected;
    const streams = new Map<string, SpdyStream>();
    const connection = new SpdyConnection(socket, {
      side: "server",
      head,
      onStream: (stream) => {
        if (forwarding) plan.forward?.(stream);
        else {
          streams.set(stream.headers["streamtype"] ?? "", stream);
          if (streams.size === wanted)
            void plan.command?.(streams).finally(() => void connection[Symbol.asyncDispose]());
        }
      },
    });
    connections.add(connection);
    connection.on("close", () => connections.delete(connection));
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return {
    port: (server.address() as AddressInfo).port,
    asked,
    pki,
    async [Symbol.asyncDispose]() {
      server.close();
      for (const connection of connections) await connection[Symbol.asyncDispose]();
      server.closeAllConnections();
    },
  };
}
