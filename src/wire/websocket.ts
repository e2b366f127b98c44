import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { createWebSocketStream, WebSocketServer, type WebSocket } from "ws";
import { Failure, messageOf } from "#base";

/** A WebSocket that has been accepted, as a pair of paced message flows. */
export interface WebSocketChannel {
  /** The subprotocol both sides agreed on. */
  readonly protocol: string;
  /** Every message, text ones as their bytes, until either side closes. The other side waits while nobody takes them. */
  receive(): AsyncGenerator<Buffer, void>;
  /** Resolves when the system has taken the message; after the end, at once. */
  send(message: Uint8Array): Promise<void>;
  /** All messages as one flow of bytes, each way. Instead of the two above. */
  stream(): Duplex;
  /** Ends it in order, with a code of RFC 6455 section 7.4. What was sent before still arrives. */
  close(code?: number, reason?: string): void;
  /** Ends it at once. What is still on its way is lost, and everyone who waits goes on. */
  terminate(): void;
}

/** No client sends bigger messages; kubectl's have 32 KiB. */
const MAX_MESSAGE = 16 << 20;
const MAX_WAITING = 256 << 10;
/** How long the other side may take to say goodbye. */
const CLOSE_TIMEOUT = 5000;

const server = new WebSocketServer({
  noServer: true,
  perMessageDeflate: false,
  maxPayload: MAX_MESSAGE,
});
const CHOSEN = new WeakMap<IncomingMessage, string>();
// Kubernetes' `SPDY/3.1+portforward.k8s.io` is no valid subprotocol (RFC 6455 wants a token), so ws would refuse it.
server.on("headers", (headers, request) => {
  const protocol = CHOSEN.get(request);
  if (protocol !== undefined) headers.push(`Sec-WebSocket-Protocol: ${protocol}`);
});

/** True for a request that asks to become a WebSocket. */
export function asksForWebSocket(request: IncomingMessage): boolean {
  return request.headers.upgrade?.toLowerCase() === "websocket";
}

/** The first of these subprotocols that the client offers, or undefined. */
export function chooseSubprotocol(request: IncomingMessage, supported: readonly string[]): string | undefined {
  const offered = (request.headers["sec-websocket-protocol"] ?? "").split(",").map((one) => one.trim());
  return supported.find((one) => offered.includes(one));
}

/**
 * Answers the handshake and takes the socket over; `protocol` is "" for none. A client that does not keep to the handshake is answered by 400.
 * @throws Failure WEBSOCKET_HANDSHAKE when the connection ended instead
 */
export function acceptWebSocket(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  protocol: string,
): Promise<WebSocketChannel> {
  if (protocol !== "") CHOSEN.set(request, protocol);
  delete request.headers["sec-websocket-protocol"];
  return new Promise((resolve, reject) => {
    socket.once("close", () => {
      reject(new Failure("UNAVAILABLE", "WEBSOCKET_HANDSHAKE", "the client left during the WebSocket handshake"));
    });
    server.handleUpgrade(request, socket, head, (ws) => resolve(channel(ws, protocol)));
  });
}

function channel(ws: WebSocket, protocol: string): WebSocketChannel {
  ws.binaryType = "nodebuffer";
  const waiting: Buffer[] = [];
  let bytes = 0;
  let ended = false;
  let wake = (): void => {};
  let streaming = false;
  ws.on("message", (data) => {
    if (streaming) return;
    const message = data as Buffer;
    waiting.push(message);
    bytes += message.length;
    if (bytes > MAX_WAITING) ws.pause();
    wake();
  });
  ws.on("close", () => {
    ended = true;
    wake();
  });
  ws.on("error", () => {
    ended = true;
    ws.terminate();
    wake();
  });
  return {
    protocol,
    async *receive() {
      for (;;) {
        const message = waiting.shift();
        if (message !== undefined) {
          bytes -= message.length;
          if (bytes <= MAX_WAITING && ws.isPaused) ws.resume();
          yield message;
        } else if (ended) return;
        else
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
      }
    },
    send: (message) =>
      new Promise((resolve) => {
        if (ws.readyState !== ws.OPEN) resolve();
        else ws.send(message, () => resolve());
      }),
    stream() {
      streaming = true;
      const stream = createWebSocketStream(ws, { readableHighWaterMark: 64 << 10, writableHighWaterMark: 64 << 10 });
      for (const message of waiting.splice(0)) stream.push(message);
      return stream;
    },
    terminate: () => ws.terminate(),
    close(code = 1000, reason = "") {
      if (ws.readyState !== ws.OPEN) return;
      ws.close(code, cut(reason));
      const late = setTimeout(() => ws.terminate(), CLOSE_TIMEOUT);
      ws.once("close", () => clearTimeout(late));
      if (ws.isPaused) ws.resume();
    },
  };
}

/** A close frame holds 123 bytes of reason. */
function cut(reason: string): string {
  let text = messageOf(reason);
  while (Buffer.byteLength(text) > 123) text = text.slice(0, -1);
  return text;
}
