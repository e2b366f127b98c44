import type { Duplex } from "node:stream";
import { messageOf } from "#base";
import { acceptWebSocket, chooseSubprotocol, SpdyConnection, type SpdyStream, type WebSocketChannel } from "#wire";
import type { ApiRequest } from "../router.ts";
import { badRequest, StatusError, statusOf } from "../status.ts";
import { askKubelet, errorText, type KubeletAccess } from "./kubelet-request.ts";
import type { KubeletAddress } from "./location.ts";

/** The channels of the first byte of each message. */
const STDIN = 0;
const STDOUT = 1;
const STDERR = 2;
const ERROR = 3;
const RESIZE = 4;
/** v5: the next byte names a channel that ends. */
const CLOSE = 255;
const V5 = "v5.channel.k8s.io";
/** Subprotocols of WebSocket that are served here, best first. */
export const COMMAND_PROTOCOLS = [V5, "v4.channel.k8s.io"];
/** What a kubelet speaks over SPDY, best first. */
const SPDY_PROTOCOLS = ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];
const MAX_STATUS = 1 << 20;

/** Which streams a client asks for. */
export interface Streams {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
}

/**
 * Serves exec or attach to a client that speaks WebSocket, by SPDY towards the kubelet. Output is sent in full before
 * the status, and the status before the close. What fails once the client is connected is told on the error channel.
 */
export async function translate(
  request: ApiRequest,
  socket: Duplex,
  head: Buffer,
  access: KubeletAccess,
  at: KubeletAddress,
  path: string,
  streams: Streams,
): Promise<void> {
  const protocol = chooseSubprotocol(request.raw, COMMAND_PROTOCOLS);
  if (protocol === undefined)
    throw badRequest(`none of the offered WebSocket subprotocols is supported; use ${COMMAND_PROTOCOLS.join(" or ")}`);
  const channel = await acceptWebSocket(request.raw, socket, head, protocol);
  const ended = new AbortController();
  // A client that does not read would hold up whoever ends the server.
  request.signal.addEventListener("abort", () => channel.terminate(), { once: true });
  const signal = AbortSignal.any([request.signal, ended.signal]);
  try {
    const client = new ClientSide(channel, protocol === V5);
    const reading = client.read().finally(() => ended.abort());
    const status = await serve(client, access, at, path, streams, signal).catch((error: unknown) =>
      Buffer.from(JSON.stringify(statusOf(error))),
    );
    await client.send(ERROR, status);
    channel.close();
    await reading;
  } finally {
    channel.close(1011);
  }
}

/** The client's side: where what it sends goes. What comes before the kubelet is ready waits. */
class ClientSide {
  readonly #channel: WebSocketChannel;
  readonly #v5: boolean;
  readonly #ready = Promise.withResolvers<ReadonlyMap<number, SpdyStream>>();

  constructor(channel: WebSocketChannel, v5: boolean) {
    this.#channel = channel;
    this.#v5 = v5;
  }

  connect(inputs: ReadonlyMap<number, SpdyStream>): void {
    this.#ready.resolve(inputs);
  }

  async send(id: number, bytes: Uint8Array): Promise<void> {
    await this.#channel.send(Buffer.concat([Buffer.of(id), bytes]));
  }

  /** Takes messages until the client closes. */
  async read(): Promise<void> {
    for await (const message of this.#channel.receive()) {
      const inputs = await this.#ready.promise;
      const [id = -1, which = -1] = message;
      if (id === CLOSE && this.#v5) inputs.get(which)?.end();
      else if (message.length > 1) await write(inputs.get(id), message.subarray(1));
    }
  }
}

/** Resolves once the stream takes more, or nothing more. */
async function write(stream: SpdyStream | undefined, bytes: Buffer): Promise<void> {
  if (stream === undefined || !stream.writable || stream.write(bytes)) return;
  await new Promise<void>((resolve) => {
    stream.once("drain", resolve);
    stream.once("close", resolve);
  });
}

/** Runs the streams to their end, and gives the status the kubelet ended with. */
async function serve(
  client: ClientSide,
  access: KubeletAccess,
  at: KubeletAddress,
  path: string,
  streams: Streams,
  signal: AbortSignal,
): Promise<Buffer> {
  await using connection = await dial(client, access, at, path, signal);
  const abort = (): void => void connection[Symbol.asyncDispose]();
  signal.addEventListener("abort", abort, { once: true });
  try {
    const open = (streamType: string): Promise<SpdyStream> => connection.open({ streamType }, { signal });
    const error = await open("error");
    const inputs = new Map<number, SpdyStream>();
    if (streams.stdin) inputs.set(STDIN, await open("stdin"));
    const outputs: [number, SpdyStream][] = [];
    if (streams.stdout) outputs.push([STDOUT, await open("stdout")]);
    if (streams.stderr && !streams.tty) outputs.push([STDERR, await open("stderr")]);
    if (streams.tty) inputs.set(RESIZE, await open("resize"));
    for (const input of inputs.values()) input.resume();
    // Older clients wait for a first, empty message to know that the command runs.
    await client.send(outputs[0]?.[0] ?? ERROR, Buffer.alloc(0));
    client.connect(inputs);
    const [status] = await Promise.all([whole(error), ...outputs.map(([id, stream]) => forward(stream, client, id))]);
    if (status.length === 0)
      throw new StatusError(500, "InternalError", "Internal error occurred: the connection to the node was lost");
    return status;
  } finally {
    client.connect(new Map());
    signal.removeEventListener("abort", abort);
  }
}

async function dial(
  client: ClientSide,
  access: KubeletAccess,
  at: KubeletAddress,
  path: string,
  signal: AbortSignal,
): Promise<SpdyConnection> {
  try {
    const headers = { Connection: "Upgrade", Upgrade: "SPDY/3.1", "X-Stream-Protocol-Version": SPDY_PROTOCOLS };
    const answer = await askKubelet(access, at, { method: "POST", path, headers, signal });
    if (answer.upgraded) return new SpdyConnection(answer.socket, { side: "client", head: answer.head });
    const text = await errorText(answer.response);
    const message = `unable to upgrade connection: ${text}`;
    throw new StatusError(500, "InternalError", `Internal error occurred: ${message}`, { causes: [{ message }] });
  } catch (error) {
    client.connect(new Map());
    throw error;
  }
}

async function forward(stream: SpdyStream, client: ClientSide, id: number): Promise<void> {
  for await (const bytes of stream as AsyncIterable<Buffer>) await client.send(id, bytes);
}

/** A status is one small JSON object; of one that is not, the beginning says what it is. */
async function whole(stream: SpdyStream): Promise<Buffer> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const bytes of stream as AsyncIterable<Buffer>) {
    if (length < MAX_STATUS) parts.push(bytes);
    length += bytes.length;
  }
  const status = Buffer.concat(parts);
  try {
    if (status.length > 0) JSON.parse(status.toString("utf8"));
    return status;
  } catch (error) {
    const said = status.toString("utf8", 0, 1000);
    throw new StatusError(500, "InternalError", `Internal error occurred: ${messageOf(said || error)}`);
  }
}
