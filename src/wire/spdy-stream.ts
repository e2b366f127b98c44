import { Duplex } from "node:stream";
import type { Failure } from "#base";
import type { SpdyHeaders } from "./spdy-headers.ts";

/** What one stream asks of its connection. */
export interface StreamHost {
  /** Sends as much as may be sent now, and says how much it was; the connection calls {@link SpdyStream.retry} later. */
  send(stream: SpdyStream, bytes: Buffer): number;
  finish(stream: SpdyStream): void;
  abandon(stream: SpdyStream): void;
  /** The reader took something: `buffered` bytes are left. */
  consumed(stream: SpdyStream): void;
}

/**
 * One stream of a SPDY connection: a duplex whose sides end apart. Its readable side ends when the other side finishes,
 * resets the stream or closes the connection, after what came before has been read: Kubernetes' servers end every
 * stream by a reset. A stream that was reset while it could still be written to is then destroyed with STREAM_RESET, or
 * SPDY_CLOSED. Destroying it resets it.
 */
export class SpdyStream extends Duplex {
  readonly id: number;
  readonly headers: SpdyHeaders;
  /** The status of the other side's RST_STREAM. */
  resetStatus: number | undefined;
  /** How many bytes the other side takes now, if it keeps windows. */
  sendWindow: number;
  /** Received, not yet announced as consumed. */
  unannounced = 0;
  readonly #host: StreamHost;
  #waiting: { bytes: Buffer; readonly done: (error?: Error | null) => void } | undefined;
  #ended = false;
  #refused = false;

  constructor(host: StreamHost, id: number, headers: SpdyHeaders, sendWindow: number) {
    super({ allowHalfOpen: true, readableHighWaterMark: 64 << 10, writableHighWaterMark: 64 << 10 });
    this.#host = host;
    this.id = id;
    this.headers = headers;
    this.sendWindow = sendWindow;
  }

  /** The other side will send nothing more on this stream. */
  get remoteEnded(): boolean {
    return this.#ended;
  }

  /** For the connection: bytes came in. */
  receive(bytes: Buffer): void {
    if (this.#ended || this.destroyed || bytes.length === 0) return;
    this.push(bytes);
  }

  /** For the connection: nothing more will come in. */
  receiveEnd(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (!this.destroyed) this.push(null);
  }

  /** For the connection: the other side takes nothing more. What is still written goes nowhere. */
  refuseWrites(why: Failure): void {
    if (this.#refused || this.destroyed) return;
    this.#refused = true;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.done();
    // Not before what came in has been read, if somebody reads.
    const unread = this.readableFlowing === null && this.readableLength === 0;
    if (this.readableEnded || unread) this.destroy(why);
    else this.once("end", () => this.destroy(this.writableFinished ? undefined : why));
  }

  /** For the connection: there may be room again. */
  retry(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    const sent = this.#host.send(this, waiting.bytes);
    waiting.bytes = waiting.bytes.subarray(sent);
    if (waiting.bytes.length > 0) return;
    this.#waiting = undefined;
    waiting.done();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.#refused) done();
    else {
      this.#waiting = { bytes: chunk, done };
      this.retry();
    }
  }

  override _final(done: (error?: Error | null) => void): void {
    if (!this.#refused) this.#host.finish(this);
    done();
  }

  override _read(): void {
    // What is being read now still counts as buffered here.
    process.nextTick(() => this.#host.consumed(this));
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#waiting = undefined;
    this.#host.abandon(this);
    done(error);
  }
}
