import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions, type SecureContext } from "node:tls";
import { parseHead, type ResponseHead } from "./response-head.ts";
import { SLAB, type Slab, type Slabs } from "./slabs.ts";

/** A rest of a slab smaller than this is not worth a system call. Bytes. */
const LEAST = 64 * 1024;
/** Nobody is woken for less than this, if more may come in the same turn of the event loop. Bytes. */
const WORTHWHILE = 256 * 1024;
/** Bytes that may wait for the reader before the socket is not read any more: TCP then holds the sender back. */
const AHEAD = 1024 * 1024;
const HEAD_LIMIT = 64 * 1024;

export interface BulkTarget {
  readonly url: URL;
  /** Absent for plain HTTP. */
  readonly tls?: { readonly secureContext: SecureContext; readonly rejectUnauthorized: boolean } | undefined;
  /** Milliseconds. */
  readonly dialTimeout: number;
}

/**
 * One HTTP/1.1 connection that is read straight into large buffers (`onread`), because a blob that comes through a stream in
 * pieces of 64 KiB takes twice the time. It asks by GET, one request at a time, and knows only bodies with a Content-Length:
 * for other answers `length` in the head is undefined, and the connection has to be destroyed.
 */
export class BulkConnection {
  /** Called once, when it cannot be used any more. */
  onClose: () => void = () => undefined;
  /** It has had an answer before: a server may close it at any time, which is no failure of the next request. */
  isUsed = false;
  readonly #socket: Socket;
  readonly #slabs: Slabs;
  #slab: Slab;
  #error: Error | undefined;
  #head: Buffer = Buffer.alloc(0);
  #onHead: ((head: ResponseHead | Error) => void) | undefined;
  /** Bytes of the body that have not come yet; 0 between requests. */
  #expected = 0;
  #keepsAlive = false;
  #queue: Uint8Array[] = [];
  #queued = 0;
  #wake: (() => void) | undefined;
  #isPaused = false;
  #stall = 0;

  private constructor(target: BulkTarget, slabs: Slabs) {
    this.#slabs = slabs;
    this.#slab = slabs.take();
    const { url, tls } = target;
    const host = url.hostname.replace(/^\[|\]$/g, "");
    const port = Number(url.port) || (url.protocol === "https:" ? 443 : 80);
    const onread = {
      buffer: () => this.#room(),
      callback: (length: number, buffer: Uint8Array) => this.#take(buffer.subarray(0, length)),
    };
    const servername = isIP(host) === 0 ? { servername: host } : {};
    // `onread` is missing in the types of `tls.connect`, not in its documentation.
    const secure: ConnectionOptions & { readonly onread: object } = {
      host,
      port,
      onread,
      ...tls,
      ...servername,
      ALPNProtocols: ["http/1.1"],
    };
    this.#socket = tls === undefined ? connectTcp({ host, port, onread, noDelay: true }) : connectTls(secure);
    this.#socket.on("error", (error: Error) => this.destroy(error));
    this.#socket.on("end", () => this.destroy(closed()));
    this.#socket.on("close", () => this.destroy(closed()));
    this.#socket.on("timeout", () => {
      // Between requests the pool decides; while paused it is the reader who is slow.
      if (this.#onHead !== undefined || (this.#expected > 0 && !this.#isPaused))
        this.destroy(timedOut(this.#onHead === undefined));
    });
  }

  /** @throws what the socket throws; ETIMEDOUT */
  static async open(target: BulkTarget, slabs: Slabs, signal: AbortSignal | undefined): Promise<BulkConnection> {
    const connection = new BulkConnection(target, slabs);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      reject(Object.assign(new Error("i/o timeout"), { code: "ETIMEDOUT" }));
    }, target.dialTimeout);
    const abort = (): void => reject(signal?.reason as Error);
    signal?.addEventListener("abort", abort);
    connection.#socket.once(target.tls === undefined ? "connect" : "secureConnect", resolve);
    connection.onClose = () => reject(connection.#error ?? closed());
    try {
      await promise;
      if (connection.#error !== undefined) throw connection.#error;
      return connection;
    } catch (error) {
      connection.destroy(error as Error);
      throw error;
    } finally {
      connection.onClose = () => undefined;
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    }
  }

  get isOpen(): boolean {
    return this.#error === undefined;
  }

  /** Whether another request may follow on it: the last answer was read to its end, and neither side has closed. */
  get isFree(): boolean {
    return this.isOpen && this.#expected === 0 && this.#queued === 0 && this.#onHead === undefined && this.#keepsAlive;
  }

  /** Sends a GET and answers with the head. Timeouts in milliseconds. */
  async get(
    url: URL,
    headers: Readonly<Record<string, string>>,
    timeouts: { readonly answer: number; readonly stall: number },
  ): Promise<ResponseHead> {
    const lines = Object.entries({ host: url.host, connection: "keep-alive", ...headers });
    const text = `GET ${url.pathname}${url.search} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`;
    if (this.#error !== undefined) throw this.#error;
    const { promise, resolve, reject } = Promise.withResolvers<ResponseHead>();
    this.#onHead = (head) => (head instanceof Error ? reject(head) : resolve(head));
    this.#stall = timeouts.stall;
    this.#keepsAlive = false;
    this.#socket.ref().setTimeout(timeouts.answer);
    this.#socket.write(text, "latin1");
    return promise;
  }

  /** The body of the last answer, in pieces that stay as they are until they are given back to the slabs. Ending early destroys the connection. */
  async *body(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for (;;) {
        while (this.#queue.length > 0) {
          const chunk = this.#queue.shift() ?? assertNever();
          this.#queued -= chunk.byteLength;
          if (this.#isPaused && this.#queued < AHEAD / 2) {
            this.#isPaused = false;
            this.#socket.setTimeout(this.#stall).resume();
          }
          yield chunk;
        }
        if (this.#expected === 0) return;
        if (this.#error !== undefined) throw this.#error;
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      if (this.#expected > 0 || this.#queued > 0) this.destroy(closed());
    }
  }

  /** An idle connection keeps no process alive. */
  rest(): void {
    this.#socket.setTimeout(0).unref();
  }

  destroy(error: Error = closed()): void {
    if (this.#error !== undefined) return;
    this.#error = error;
    this.#socket.destroy();
    this.#onHead?.(error);
    this.#onHead = undefined;
    this.#wake?.();
    this.onClose();
  }

  #room(): Uint8Array {
    if (SLAB - this.#slab.at < LEAST) {
      this.#slabs.fill(this.#slab);
      this.#slab = this.#slabs.take();
    }
    return this.#slab.bytes.subarray(this.#slab.at);
  }

  /** False stops the reading. */
  #take(bytes: Uint8Array): boolean {
    this.#slab.at += bytes.byteLength;
    if (this.#onHead !== undefined) return this.#takeHead(bytes);
    return this.#takeBody(bytes);
  }

  #takeHead(bytes: Uint8Array): boolean {
    const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#head = this.#head.length === 0 ? view : Buffer.concat([this.#head, view]);
    const end = this.#head.indexOf("\r\n\r\n");
    if (end < 0) {
      if (this.#head.length > HEAD_LIMIT) this.destroy(malformed());
      return true;
    }
    const head = parseHead(this.#head.toString("latin1", 0, end));
    const rest = this.#head.subarray(end + 4);
    this.#head = Buffer.alloc(0);
    if (head === undefined) {
      this.destroy(malformed());
      return true;
    }
    this.#socket.setTimeout(this.#stall);
    this.isUsed = true;
    this.#expected = head.length ?? 0;
    this.#keepsAlive = head.keepsAlive && head.length !== undefined;
    const onHead = this.#onHead;
    this.#onHead = undefined;
    onHead?.(head);
    return rest.length === 0 ? true : this.#takeBody(rest);
  }

  #takeBody(bytes: Uint8Array): boolean {
    if (bytes.byteLength > this.#expected) {
      // More than was announced: the rest belongs to nothing we asked for.
      this.#keepsAlive = false;
      bytes = bytes.subarray(0, this.#expected);
    }
    if (bytes.byteLength === 0) return true;
    this.#expected -= bytes.byteLength;
    this.#queued += bytes.byteLength;
    this.#slab.lent += bytes.byteLength;
    this.#append(bytes);
    if (this.#queued >= WORTHWHILE || this.#expected === 0) this.#wakeUp();
    else if (this.#wake !== undefined) setImmediate(() => this.#wakeUp());
    this.#isPaused = this.#queued >= AHEAD && this.#expected > 0;
    return !this.#isPaused;
  }

  /** Two pieces that lie side by side in one slab are one. */
  #append(bytes: Uint8Array): void {
    const last = this.#queue.at(-1);
    if (last !== undefined && last.buffer === bytes.buffer && last.byteOffset + last.byteLength === bytes.byteOffset)
      this.#queue[this.#queue.length - 1] = new Uint8Array(
        last.buffer,
        last.byteOffset,
        last.byteLength + bytes.byteLength,
      );
    else this.#queue.push(bytes);
  }

  #wakeUp(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}

function closed(): Error {
  return Object.assign(new Error("other side closed"), { code: "UND_ERR_SOCKET" });
}

function timedOut(isBody: boolean): Error {
  return Object.assign(new Error("timeout"), { code: isBody ? "UND_ERR_BODY_TIMEOUT" : "UND_ERR_HEADERS_TIMEOUT" });
}

function malformed(): Error {
  return Object.assign(new Error("the answer is not HTTP/1.1"), { code: "HPE_INVALID" });
}

function assertNever(): never {
  throw new Error("unreachable: the queue is not empty");
}
