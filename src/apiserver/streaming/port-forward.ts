import type { Duplex } from "node:stream";
import { acceptWebSocket, chooseSubprotocol, joinStreams } from "#wire";
import type { ApiRequest } from "../router.ts";
import { badRequest, StatusError } from "../status.ts";
import { askKubelet, errorText, type KubeletAccess } from "./kubelet-request.ts";
import type { KubeletAddress } from "./location.ts";

const PROTOCOL = "portforward.k8s.io";
/** SPDY within WebSocket messages: the bytes are those of the connection to the kubelet. */
export const TUNNELLED = `SPDY/3.1+${PROTOCOL}`;

/** Serves port-forward to a client that tunnels SPDY through a WebSocket. */
export async function forwardPorts(
  request: ApiRequest,
  socket: Duplex,
  head: Buffer,
  access: KubeletAccess,
  at: KubeletAddress,
  path: string,
): Promise<void> {
  const protocol = chooseSubprotocol(request.raw, [TUNNELLED]);
  if (protocol === undefined)
    throw badRequest(`none of the offered WebSocket subprotocols is supported; use ${TUNNELLED}`);
  const headers = { Connection: "Upgrade", Upgrade: "SPDY/3.1", "X-Stream-Protocol-Version": PROTOCOL };
  const answer = await askKubelet(access, at, { method: "POST", path, headers, signal: request.signal });
  if (!answer.upgraded) {
    const text = await errorText(answer.response);
    const message = `unable to upgrade connection: ${text}`;
    throw new StatusError(500, "InternalError", `Internal error occurred: ${message}`, { causes: [{ message }] });
  }
  const channel = await acceptWebSocket(request.raw, socket, head, protocol);
  const client = channel.stream();
  if (answer.head.length > 0) client.write(answer.head);
  await joinStreams(client, answer.socket, request.signal);
}
