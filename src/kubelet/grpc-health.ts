import http2 from "node:http2";
import { addressOf, dialError } from "./go-errors.ts";

const SERVING = 1;
const STATES = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
const UNIMPLEMENTED = 12;

/**
 * Asks a server by grpc.health.v1.Health/Check, over one HTTP/2 stream: the question is one string, the answer one enum. What
 * is wrong, in the words of upstream's probe; undefined: it serves.
 */
export async function grpcHealth(
  host: string,
  port: number,
  service: string,
  timeoutMs: number,
): Promise<string | undefined> {
  const address = addressOf(host, port);
  const quoted = JSON.stringify(address);
  const within = `${timeoutMs / 1000}s`;
  const session = http2.connect(`http://${address}`);
  let timer: NodeJS.Timeout | undefined;
  let isConnected = false;
  session.once("connect", () => (isConnected = true));
  try {
    return await new Promise<string | undefined>((resolve) => {
      const unanswered = (): string =>
        isConnected
          ? `timeout: health rpc did not complete within ${within}`
          : `timeout: failed to connect service ${quoted} within ${within}: context deadline exceeded`;
      timer = setTimeout(() => resolve(unanswered()), timeoutMs);
      const broken = (error: unknown): void => {
        // A Go client goes on trying to connect until its time is over.
        if (isConnected) resolve(`error: health rpc probe failed: ${dialError(error, host, port)}`);
      };
      session.once("error", broken);
      const stream = session.request({
        ":method": "POST",
        ":path": "/grpc.health.v1.Health/Check",
        "content-type": "application/grpc",
        te: "trailers",
        "user-agent": "kube-probe/1.36",
      });
      let status: string | undefined;
      let message = "";
      const note = (headers: http2.IncomingHttpHeaders): void => {
        if (headers["grpc-status"] === undefined) return;
        status = String(headers["grpc-status"]);
        message = decodeURIComponent(String(headers["grpc-message"] ?? ""));
      };
      const chunks: Buffer[] = [];
      stream.on("response", note);
      stream.on("trailers", note);
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("error", broken);
      stream.on("end", () => {
        resolve(verdictOf(status, message, Buffer.concat(chunks).subarray(5)));
      });
      stream.end(question(service));
    });
  } finally {
    clearTimeout(timer);
    session.destroy();
  }
}

function verdictOf(status: string | undefined, message: string, body: Buffer): string | undefined {
  if (Number(status) === UNIMPLEMENTED)
    return `error: this server does not implement the grpc health protocol (grpc.health.v1.Health): ${message}`;
  if (status !== "0") return `error: health rpc probe failed: rpc error: code = ${status} desc = ${message}`;
  // Field 1, a varint; absent is UNKNOWN.
  const state = body[0] === 0x08 ? (body[1] ?? 0) : 0;
  return state === SERVING ? undefined : `service unhealthy (responded with ${JSON.stringify(STATES[state])})`;
}

/** A HealthCheckRequest in its frame. */
function question(service: string): Buffer {
  const name = Buffer.from(service);
  const message = name.length === 0 ? Buffer.alloc(0) : Buffer.concat([Buffer.of(0x0a, name.length), name]);
  const frame = Buffer.alloc(5);
  frame.writeUInt32BE(message.length, 1);
  return Buffer.concat([frame, message]);
}
