import { constants, inflateSync } from "node:zlib";
import { Failure, messageOf } from "#base";

/** Names are lower case; several values of one name are joined by NUL, as the protocol has them. */
export type SpdyHeaders = Readonly<Record<string, string>>;

const COMMON =
  "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow " +
  "authorization cache-control connection content-base content-encoding content-language content-length " +
  "content-location content-md5 content-range content-type date etag expect expires from host if-match " +
  "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma " +
  "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade " +
  "user-agent vary via warning www-authenticate method get status";
const TAIL =
  "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505" +
  "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized" +
  "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable" +
  "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT" +
  "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript," +
  "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

/** What both sides' compressors know beforehand (SPDY/3.1 section 2.6.10.1): words with their lengths, then text. */
export const DICTIONARY: Buffer = Buffer.concat([
  ...[...COMMON.split(" "), "200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin"].map(
    (word) => sized(Buffer.from(word)),
  ),
  Buffer.from(TAIL),
]);
const DICTIONARY_ID = adler32(DICTIONARY);

/** Of all header blocks of one direction of a connection. A stream needs some dozens of bytes. */
const MAX_COMPRESSED = 128 << 10;
const MAX_PLAIN = 4 << 20;
const MAX_PAIRS = 1000;
/** What a stored deflate block can hold. */
const MAX_STORED = 0xffff;

/** Makes the header blocks of one direction. They are stored, not compressed: they are small, few, and often secret. */
export class HeaderEncoder {
  #started = false;

  encode(headers: SpdyHeaders): Buffer {
    const pairs = Object.entries(headers);
    const plain = Buffer.concat([
      uint32(pairs.length),
      ...pairs.flatMap(([name, value]) => [sized(Buffer.from(name.toLowerCase())), sized(Buffer.from(value))]),
    ]);
    const blocks: Buffer[] = [];
    if (!this.#started) blocks.push(Buffer.of(0x78, 0xbb), uint32(DICTIONARY_ID));
    this.#started = true;
    // An empty block ends each: it is the flush that makes Go's inflater give out what came before.
    for (let at = 0; at < plain.length; at += MAX_STORED) blocks.push(...stored(plain.subarray(at, at + MAX_STORED)));
    blocks.push(...stored(Buffer.alloc(0)));
    return Buffer.concat(blocks);
  }
}

/** A deflate block that holds its bytes as they are (RFC 1951 section 3.2.4). */
function stored(bytes: Buffer): [Buffer, Buffer] {
  const head = Buffer.alloc(5);
  head.writeUInt16LE(bytes.length, 1);
  head.writeUInt16LE(bytes.length ^ 0xffff, 3);
  return [head, bytes];
}

/**
 * Reads the header blocks of one direction, which are one compressed stream. Every block is read together with those
 * before it: that takes no state but the bytes, and the bytes are few.
 */
export class HeaderDecoder {
  #compressed: Buffer = Buffer.alloc(0);
  #seen = 0;

  /** @throws Failure SPDY_PROTOCOL */
  decode(block: Uint8Array): SpdyHeaders {
    this.#compressed = Buffer.concat([this.#compressed, block]);
    if (this.#compressed.length > MAX_COMPRESSED) throw malformed("more headers than one connection may carry");
    let plain: Buffer;
    try {
      plain = inflateSync(this.#compressed, {
        dictionary: DICTIONARY,
        finishFlush: constants.Z_SYNC_FLUSH,
        maxOutputLength: MAX_PLAIN,
      });
    } catch (error) {
      throw malformed(`headers that do not inflate (${messageOf(error)})`);
    }
    const own = plain.subarray(this.#seen);
    this.#seen = plain.length;
    return parse(own);
  }
}

function parse(plain: Buffer): SpdyHeaders {
  let at = 0;
  const next = (): number => {
    if (at + 4 > plain.length) throw malformed("headers that end early");
    at += 4;
    return plain.readUInt32BE(at - 4);
  };
  const text = (): string => {
    const length = next();
    if (at + length > plain.length) throw malformed("headers that end early");
    at += length;
    return plain.toString("utf8", at - length, at);
  };
  const count = next();
  if (count > MAX_PAIRS) throw malformed("too many headers");
  const headers: Record<string, string> = Object.create(null) as Record<string, string>;
  for (let i = 0; i < count; i++) {
    const name = text();
    if (name === "" || name in headers) throw malformed("an empty or repeated header name");
    headers[name] = text();
  }
  return headers;
}

export function malformed(what: string): Failure {
  return new Failure("UNAVAILABLE", "SPDY_PROTOCOL", `the other side of a SPDY connection sent ${what}`);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function sized(bytes: Buffer): Buffer {
  return Buffer.concat([uint32(bytes.length), bytes]);
}

function adler32(bytes: Buffer): number {
  let a = 1;
  let b = 0;
  for (const byte of bytes) {
    a = (a + byte) % 65521;
    b = (b + a) % 65521;
  }
  return b * 65536 + a;
}
