import { malformed } from "./spdy-headers.ts";

/** One frame, or a part of a data frame: the bytes of a long one come as they arrive, and `fin` stands on the last. */
export type SpdyFrame =
  | { readonly type: "data"; readonly id: number; readonly bytes: Buffer; readonly fin: boolean }
  | {
      readonly type: "syn";
      readonly id: number;
      readonly block: Buffer;
      readonly fin: boolean;
      readonly oneWay: boolean;
    }
  | { readonly type: "reply" | "headers"; readonly id: number; readonly block: Buffer; readonly fin: boolean }
  | { readonly type: "reset"; readonly id: number; readonly status: number }
  | { readonly type: "settings"; readonly initialWindow: number | undefined }
  | { readonly type: "ping"; readonly id: number }
  | { readonly type: "goaway"; readonly lastId: number; readonly status: number }
  | { readonly type: "window"; readonly id: number; readonly delta: number };

/** RST_STREAM status codes (SPDY/3.1 section 2.6.3). */
export const RESET = {
  PROTOCOL_ERROR: 1,
  INVALID_STREAM: 2,
  REFUSED_STREAM: 3,
  CANCEL: 5,
  FLOW_CONTROL_ERROR: 7,
  STREAM_ALREADY_CLOSED: 9,
} as const;

const SYN_STREAM = 1;
const SYN_REPLY = 2;
const RST_STREAM = 3;
const SETTINGS = 4;
const PING = 6;
const GOAWAY = 7;
const HEADERS = 8;
const WINDOW_UPDATE = 9;
const VERSION = 3;
const FIN = 1;
const UNIDIRECTIONAL = 2;
const INITIAL_WINDOW_SIZE = 7;
/** Of a control frame: those that carry no headers have a dozen bytes, and headers are small. */
const MAX_CONTROL = 256 << 10;
const LEAST: Readonly<Record<number, number>> = {
  [SYN_STREAM]: 10,
  [SYN_REPLY]: 4,
  [RST_STREAM]: 8,
  [SETTINGS]: 4,
  [PING]: 4,
  [GOAWAY]: 8,
  [HEADERS]: 4,
  [WINDOW_UPDATE]: 8,
};

/** Cuts a byte stream into frames (SPDY/3.1 section 2.2). Frames of unknown types are skipped. */
export class FrameReader {
  #pending: Buffer = Buffer.alloc(0);
  /** Of the data frame that is being read. */
  #data: { readonly id: number; readonly fin: boolean; left: number } | undefined;

  /** @throws Failure SPDY_PROTOCOL */
  *read(chunk: Uint8Array): Generator<SpdyFrame> {
    const bytes =
      this.#pending.length === 0
        ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
        : Buffer.concat([this.#pending, chunk]);
    let at = 0;
    for (;;) {
      if (this.#data !== undefined) {
        const { id, fin, left } = this.#data;
        const part = bytes.subarray(at, at + left);
        if (part.length === 0 && left > 0) break;
        at += part.length;
        this.#data.left -= part.length;
        const last = this.#data.left === 0;
        if (last) this.#data = undefined;
        yield { type: "data", id, bytes: part, fin: fin && last };
        continue;
      }
      if (bytes.length - at < 8) break;
      const flags = bytes.readUInt8(at + 4);
      const length = bytes.readUIntBE(at + 5, 3);
      if ((bytes.readUInt8(at) & 0x80) === 0) {
        this.#data = { id: bytes.readUInt32BE(at), fin: (flags & FIN) !== 0, left: length };
        at += 8;
        continue;
      }
      const version = bytes.readUInt16BE(at) & 0x7fff;
      if (version !== VERSION) throw malformed(`a frame of version ${version}`);
      if (length > MAX_CONTROL) throw malformed(`a control frame of ${length} bytes`);
      if (bytes.length - at < 8 + length) break;
      const type = bytes.readUInt16BE(at + 2);
      const body = bytes.subarray(at + 8, at + 8 + length);
      at += 8 + length;
      if (length < (LEAST[type] ?? 0)) throw malformed(`a frame of type ${type} with ${length} bytes`);
      const frame = control(type, flags, body);
      if (frame !== undefined) yield frame;
    }
    this.#pending = Buffer.from(bytes.subarray(at));
  }
}

function control(type: number, flags: number, body: Buffer): SpdyFrame | undefined {
  const fin = (flags & FIN) !== 0;
  const id = (): number => body.readUInt32BE(0) & 0x7fffffff;
  switch (type) {
    case SYN_STREAM:
      return { type: "syn", id: id(), block: body.subarray(10), fin, oneWay: (flags & UNIDIRECTIONAL) !== 0 };
    case SYN_REPLY:
      return { type: "reply", id: id(), block: body.subarray(4), fin };
    case HEADERS:
      return { type: "headers", id: id(), block: body.subarray(4), fin };
    case RST_STREAM:
      return { type: "reset", id: id(), status: body.readUInt32BE(4) };
    case SETTINGS:
      return { type: "settings", initialWindow: initialWindow(body) };
    case PING:
      return { type: "ping", id: body.readUInt32BE(0) };
    case GOAWAY:
      return { type: "goaway", lastId: id(), status: body.readUInt32BE(4) };
    case WINDOW_UPDATE:
      return { type: "window", id: id(), delta: body.readUInt32BE(4) & 0x7fffffff };
    default:
      return undefined;
  }
}

function initialWindow(body: Buffer): number | undefined {
  const count = body.readUInt32BE(0);
  if (body.length < 4 + count * 8) throw malformed("settings that end early");
  for (let at = 4; at < 4 + count * 8; at += 8)
    if (body.readUIntBE(at + 1, 3) === INITIAL_WINDOW_SIZE) return body.readUInt32BE(at + 4) & 0x7fffffff;
  return undefined;
}

function frame(type: number, flags: number, body: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt16BE(0x8000 | VERSION);
  head.writeUInt16BE(type, 2);
  head.writeUInt8(flags, 4);
  head.writeUIntBE(body.length, 5, 3);
  return Buffer.concat([head, body]);
}

function words(...values: readonly number[]): Buffer {
  const body = Buffer.alloc(values.length * 4);
  for (const [i, value] of values.entries()) body.writeUInt32BE(value >>> 0, i * 4);
  return body;
}

/** The bytes of each kind of frame. */
export const encode = {
  syn: (id: number, block: Buffer, fin: boolean): Buffer =>
    frame(SYN_STREAM, fin ? FIN : 0, Buffer.concat([words(id, 0), Buffer.alloc(2), block])),
  reply: (id: number, block: Buffer): Buffer => frame(SYN_REPLY, 0, Buffer.concat([words(id), block])),
  reset: (id: number, status: number): Buffer => frame(RST_STREAM, 0, words(id, status)),
  /** What this side can take of one stream before it says more. */
  initialWindow: (size: number): Buffer => frame(SETTINGS, 0, words(1, INITIAL_WINDOW_SIZE, size)),
  ping: (id: number): Buffer => frame(PING, 0, words(id)),
  goaway: (lastId: number, status: number): Buffer => frame(GOAWAY, 0, words(lastId, status)),
  window: (id: number, delta: number): Buffer => frame(WINDOW_UPDATE, 0, words(id, delta)),
  /** The eight bytes before `length` bytes of data. */
  data: (id: number, length: number, fin: boolean): Buffer => {
    const head = words(id, length);
    head.writeUInt8(fin ? FIN : 0, 4);
    return head;
  },
};
