import { EventEmitter } from "node:events";
import type { Duplex } from "node:stream";
import { Failure, messageOf, type CallOptions } from "#base";
import { encode, FrameReader, RESET, type SpdyFrame } from "./spdy-frames.ts";
import { HeaderDecoder, HeaderEncoder, malformed, type SpdyHeaders } from "./spdy-headers.ts";
import { SpdyStream, type StreamHost } from "./spdy-stream.ts";

export interface SpdyOptions {
  /** Clients number their streams oddly, servers evenly. */
  readonly side: "client" | "server";
  /** Bytes that were read from the socket before it was handed over. */
  readonly head?: Uint8Array;
  /** Called with each stream the other side opens, which then counts as accepted. Without it they are refused. */
  readonly onStream?: (stream: SpdyStream) => void;
}

/** Before either side says otherwise (SPDY/3.1 section 2.6.8). */
const DEFAULT_WINDOW = 64 << 10;
/** What we take of one stream before its reader has taken it. */
const WINDOW = 256 << 10;
const MAX_WINDOW = 0x7fffffff;
const MAX_STREAMS = 1000;
const MAX_DATA = 64 << 10;
/** How long the other side may take to close after us, in milliseconds. */
const GOODBYE = 5000;

/**
 * A SPDY/3.1 connection over a socket that has been upgraded to it.
 *
 * Kubernetes' peers (kubectl, kubelets, containerd) neither keep to windows nor announce what they consumed. So windows
 * bind what we send only once the other side has spoken of them, and only then are ours announced: such a peer closes
 * its socket with our announcements unread, and the kernel then throws away what it had still to send us. A peer that
 * sends more than is read is stopped at the socket. Emits `close` once, when the socket is closed and all streams have
 * ended.
 */
export class SpdyConnection extends EventEmitter<{ close: [] }> implements AsyncDisposable {
  readonly #socket: Duplex;
  readonly #options: SpdyOptions;
  readonly #reader = new FrameReader();
  readonly #encoder = new HeaderEncoder();
  readonly #decoder = new HeaderDecoder();
  readonly #streams = new Map<number, SpdyStream>();
  readonly #opening = new Map<number, { resolve(): void; reject(why: Failure): void }>();
  readonly #host: StreamHost;
  #nextId: number;
  #lastRemoteId = 0;
  #goingAway = false;
  #closed = false;
  #peerKeepsWindows = false;
  #initialSendWindow = DEFAULT_WINDOW;
  #sendWindow = DEFAULT_WINDOW;
  #unannounced = 0;
  #blocked = false;
  readonly #full = new Set<SpdyStream>();

  constructor(socket: Duplex, options: SpdyOptions) {
    super();
    this.#socket = socket;
    this.#options = options;
    this.#nextId = options.side === "client" ? 1 : 2;
    this.#host = {
      send: (stream, bytes) => this.#sendData(stream, bytes),
      finish: (stream) => {
        this.#write(encode.data(stream.id, 0, true));
        this.#release(stream);
      },
      abandon: (stream) => this.#abandon(stream),
      consumed: (stream) => this.#consumed(stream),
    };
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    socket.on("drain", () => {
      this.#blocked = false;
      this.#retry();
    });
    socket.on("end", () => this.#end());
    socket.on("error", () => this.#end());
    socket.on("close", () => this.#end());
    if (options.head !== undefined && options.head.length > 0) this.#receive(options.head);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /**
   * Opens a stream and waits until the other side has taken it: some peers drop what comes before.
   * @throws Failure STREAM_RESET, SPDY_CLOSED
   */
  async open(headers: SpdyHeaders, call?: CallOptions): Promise<SpdyStream> {
    call?.signal?.throwIfAborted();
    if (this.#closed || this.#goingAway) throw closed();
    const stream = this.#add(this.#nextId, headers);
    this.#nextId += 2;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#opening.set(stream.id, { resolve, reject });
    this.#write(encode.syn(stream.id, this.#encoder.encode(headers), false));
    const abort = (): void => {
      reject(call?.signal?.reason as Failure);
    };
    call?.signal?.addEventListener("abort", abort, { once: true });
    try {
      await promise;
      return stream;
    } catch (error) {
      stream.destroy();
      throw error;
    } finally {
      call?.signal?.removeEventListener("abort", abort);
      this.#opening.delete(stream.id);
    }
  }

  /** Says goodbye, ends every stream and closes the socket once what was sent is out. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#write(encode.goaway(this.#lastRemoteId, 0));
    this.#socket.end();
    this.#end();
    const late = setTimeout(() => this.#socket.destroy(), GOODBYE).unref();
    this.#socket.once("close", () => clearTimeout(late));
    await Promise.resolve();
  }

  #add(id: number, headers: SpdyHeaders): SpdyStream {
    const stream = new SpdyStream(this.#host, id, headers, this.#initialSendWindow);
    // A stream that nobody listens to must not bring the process down; those who read or write learn of it anyway.
    stream.on("error", () => {});
    this.#streams.set(id, stream);
    return stream;
  }

  #write(bytes: Buffer): void {
    if (this.#closed || this.#socket.destroyed || this.#socket.writableEnded) return;
    if (!this.#socket.write(bytes)) this.#blocked = true;
  }

  #sendData(stream: SpdyStream, bytes: Buffer): number {
    let sent = 0;
    while (sent < bytes.length && !this.#blocked && !this.#closed) {
      const room = this.#peerKeepsWindows ? Math.min(stream.sendWindow, this.#sendWindow) : MAX_DATA;
      const length = Math.min(room, MAX_DATA, bytes.length - sent);
      if (length <= 0) break;
      this.#socket.cork();
      this.#write(encode.data(stream.id, length, false));
      this.#write(bytes.subarray(sent, sent + length));
      this.#socket.uncork();
      stream.sendWindow -= length;
      this.#sendWindow -= length;
      sent += length;
    }
    return sent;
  }

  #retry(): void {
    for (const stream of this.#streams.values()) {
      if (this.#blocked) return;
      stream.retry();
    }
  }

  #receive(chunk: Uint8Array): void {
    if (this.#closed) return;
    try {
      for (const frame of this.#reader.read(chunk)) {
        this.#take(frame);
        if (this.#closed) return;
      }
    } catch (error) {
      this.#write(encode.goaway(this.#lastRemoteId, 1));
      const why = error instanceof Failure ? error : malformed(messageOf(error));
      this.#end(why);
      this.#socket.destroy();
    }
  }

  #take(frame: SpdyFrame): void {
    switch (frame.type) {
      case "data":
        this.#takeData(frame.id, frame.bytes, frame.fin);
        return;
      case "syn":
        this.#takeSyn(frame);
        return;
      case "reply":
      case "headers": {
        this.#decoder.decode(frame.block);
        const stream = this.#streams.get(frame.id);
        if (frame.type === "reply") this.#opening.get(frame.id)?.resolve();
        if (frame.fin && stream !== undefined) this.#remoteEnd(stream);
        return;
      }
      case "reset":
        this.#takeReset(frame.id, frame.status);
        return;
      case "settings":
        if (frame.initialWindow === undefined) return;
        this.#keepWindows();
        for (const stream of this.#streams.values()) stream.sendWindow += frame.initialWindow - this.#initialSendWindow;
        this.#initialSendWindow = frame.initialWindow;
        this.#retry();
        return;
      case "window":
        this.#takeWindow(frame.id, frame.delta);
        return;
      case "ping":
        if (frame.id % 2 === (this.#options.side === "server" ? 1 : 0)) this.#write(encode.ping(frame.id));
        return;
      case "goaway":
        this.#goingAway = true;
        for (const [id, opening] of this.#opening) if (id > frame.lastId) opening.reject(closed());
        this.#closeIfDone();
        return;
      default:
        frame satisfies never;
    }
  }

  #takeData(id: number, bytes: Buffer, fin: boolean): void {
    this.#unannounced += bytes.length;
    if (this.#peerKeepsWindows && this.#unannounced > MAX_WINDOW / 2) {
      this.#write(encode.window(0, this.#unannounced));
      this.#unannounced = 0;
    }
    const stream = this.#streams.get(id);
    if (stream === undefined || stream.remoteEnded) {
      // Of streams that have ended here, something may still be on the way.
      if (!this.#wasOpen(id)) throw malformed(`data for stream ${id}, which was never opened`);
      return;
    }
    stream.unannounced += bytes.length;
    stream.receive(bytes);
    if (fin) this.#remoteEnd(stream);
    else if (stream.readableLength > WINDOW) {
      this.#full.add(stream);
      this.#socket.pause();
    }
  }

  #wasOpen(id: number): boolean {
    const ours = id % 2 === (this.#options.side === "client" ? 1 : 0);
    return id !== 0 && (ours ? id < this.#nextId : id <= this.#lastRemoteId);
  }

  #takeSyn({ id, block, fin, oneWay }: Extract<SpdyFrame, { type: "syn" }>): void {
    const headers = this.#decoder.decode(block);
    const ours = id % 2 === (this.#options.side === "client" ? 1 : 0);
    if (id === 0 || ours || id <= this.#lastRemoteId) throw malformed(`a stream with the id ${id}`);
    this.#lastRemoteId = id;
    if (this.#options.onStream === undefined || this.#goingAway || this.#streams.size >= MAX_STREAMS) {
      this.#write(encode.reset(id, RESET.REFUSED_STREAM));
      return;
    }
    const stream = this.#add(id, headers);
    this.#write(encode.reply(id, this.#encoder.encode({})));
    this.#options.onStream(stream);
    if (fin) this.#remoteEnd(stream);
    if (oneWay) stream.end();
  }

  #takeReset(id: number, status: number): void {
    const why = new Failure("ABORTED", "STREAM_RESET", `the other side reset stream ${id} (status ${status})`);
    this.#opening.get(id)?.reject(why);
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    stream.resetStatus = status;
    this.#streams.delete(id);
    this.#forget(stream);
    stream.receiveEnd();
    stream.refuseWrites(why);
    this.#closeIfDone();
  }

  #takeWindow(id: number, delta: number): void {
    if (delta === 0) return;
    this.#keepWindows();
    const stream = this.#streams.get(id);
    if (id === 0) {
      this.#sendWindow += delta;
      if (this.#sendWindow > MAX_WINDOW) throw malformed("a window beyond 2^31 - 1");
    } else if (stream !== undefined) {
      stream.sendWindow += delta;
      if (stream.sendWindow > MAX_WINDOW) {
        this.#write(encode.reset(id, RESET.FLOW_CONTROL_ERROR));
        this.#takeReset(id, RESET.FLOW_CONTROL_ERROR);
      }
    }
    this.#retry();
  }

  /** The other side keeps windows: so do we from now on. */
  #keepWindows(): void {
    if (this.#peerKeepsWindows) return;
    this.#peerKeepsWindows = true;
    this.#write(encode.initialWindow(WINDOW));
    this.#write(encode.window(0, MAX_WINDOW - DEFAULT_WINDOW));
    for (const stream of this.#streams.values()) this.#consumed(stream);
  }

  #consumed(stream: SpdyStream): void {
    const taken = stream.unannounced - stream.readableLength;
    if (this.#peerKeepsWindows && taken >= WINDOW / 2 && !stream.remoteEnded && this.#streams.has(stream.id)) {
      this.#write(encode.window(stream.id, taken));
      stream.unannounced -= taken;
    }
    if (stream.readableLength <= WINDOW / 2) this.#forget(stream);
  }

  /** The stream holds the socket no more. */
  #forget(stream: SpdyStream): void {
    if (this.#full.delete(stream) && this.#full.size === 0) this.#socket.resume();
  }

  #remoteEnd(stream: SpdyStream): void {
    stream.receiveEnd();
    this.#release(stream);
  }

  /** Both sides have ended: the stream is gone from the connection, though its reader may not be through. */
  #release(stream: SpdyStream): void {
    if (!stream.remoteEnded || !stream.writableEnded) return;
    this.#streams.delete(stream.id);
    this.#forget(stream);
    this.#closeIfDone();
  }

  #abandon(stream: SpdyStream): void {
    if (this.#streams.delete(stream.id)) this.#write(encode.reset(stream.id, RESET.CANCEL));
    this.#forget(stream);
    this.#closeIfDone();
  }

  #closeIfDone(): void {
    if (this.#goingAway && this.#streams.size === 0) this.#socket.end();
  }

  #end(why: Failure = closed()): void {
    if (this.#closed) return;
    this.#closed = true;
    if (!this.#socket.writableEnded) this.#socket.end();
    for (const opening of this.#opening.values()) opening.reject(why);
    const streams = [...this.#streams.values()];
    this.#streams.clear();
    this.#full.clear();
    for (const stream of streams) {
      stream.receiveEnd();
      stream.refuseWrites(why);
    }
    this.#socket.resume();
    this.emit("close");
  }
}

function closed(): Failure {
  return new Failure("UNAVAILABLE", "SPDY_CLOSED", "the SPDY connection is closed");
}
