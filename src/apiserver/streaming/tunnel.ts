import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { asksForWebSocket, joinStreams } from "#wire";
import type { ApiRequest } from "../router.ts";
import { askKubelet, errorText, type KubeletAccess } from "./kubelet-request.ts";
import type { KubeletAddress } from "./location.ts";

const UPGRADE = ["upgrade", "connection", "x-stream-protocol-version", "sec-websocket-protocol"];
/** Of a request to upgrade, what a kubelet has to know. The client's credentials stay here. */
const PASSED = [...UPGRADE, "sec-websocket-key", "sec-websocket-version"];
const RETURNED = [...UPGRADE, "sec-websocket-accept"];
/** A bearer token among the subprotocols, as browsers send it. */
const CREDENTIAL = /^base64url\.bearer\.authorization\.k8s\.io\./;

/** Hands a client's upgraded connection to a kubelet as it is: what they say to each other is theirs. */
export async function tunnel(
  request: ApiRequest,
  socket: Duplex,
  head: Buffer,
  access: KubeletAccess,
  at: KubeletAddress,
  path: string,
): Promise<void> {
  const headers = Object.fromEntries(PASSED.flatMap((name) => headersOf(request.raw, name)));
  const offered = headers["sec-websocket-protocol"]?.flatMap((line) => line.split(",").map((one) => one.trim()));
  const protocols = offered?.filter((one) => !CREDENTIAL.test(one)) ?? [];
  delete headers["sec-websocket-protocol"];
  if (protocols.length > 0) headers["sec-websocket-protocol"] = [protocols.join(", ")];
  const method = asksForWebSocket(request.raw) ? "GET" : "POST";
  const answer = await askKubelet(access, at, { method, path, headers, signal: request.signal });
  if (!answer.upgraded) {
    await refuse(socket, answer.response);
    return;
  }
  const lines = RETURNED.flatMap((name) => headersOf(answer.response, name)).flatMap(([name, values]) =>
    values.map((value) => `${name}: ${value}`),
  );
  socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join("\r\n")}\r\n\r\n`);
  if (answer.head.length > 0) socket.write(answer.head);
  if (head.length > 0) answer.socket.write(head);
  await joinStreams(socket, answer.socket, request.signal);
}

/** Passes on why a kubelet did not upgrade, as it said it. */
async function refuse(socket: Duplex, response: IncomingMessage): Promise<void> {
  const body = Buffer.from(await errorText(response));
  const status = response.statusCode === 101 ? 502 : (response.statusCode ?? 502);
  socket.end(
    Buffer.concat([
      Buffer.from(
        `HTTP/1.1 ${status} ${response.statusMessage || "Error"}\r\nConnection: close\r\n` +
          `Content-Type: ${response.headers["content-type"] ?? "text/plain; charset=utf-8"}\r\n` +
          `Content-Length: ${body.length}\r\n\r\n`,
        "latin1",
      ),
      body,
    ]),
  );
}

/** All values of a header, each as it was sent. */
function headersOf(message: IncomingMessage, name: string): [string, string[]][] {
  const values = message.headersDistinct[name];
  return values === undefined ? [] : [[name, values]];
}
