import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { CODES, Failure, type Code } from "#base";
import { MAX_MESSAGE_BYTES } from "./grpc-client.ts";

/** https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md: one flag byte, four bytes of length, the message. */
const PREFIX = 5;
const inflate = promisify(gunzip);

/** A message behind its prefix, uncompressed. */
export function frame(message: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(PREFIX + message.length);
  bytes.writeUInt8(0, 0);
  bytes.writeUInt32BE(message.length, 1);
  bytes.set(message, PREFIX);
  return bytes;
}

/**
 * All messages of a body, joined. To join encoded messages is to merge them (protobuf, "Last One Wins": lists are
 * appended), so that a stream of partial lists reads as one list.
 *
 * `encoding` is asked at the first message, when the headers are there.
 *
 * @throws Failure RESOURCE_EXHAUSTED for a message above {@link MAX_MESSAGE_BYTES}, UNIMPLEMENTED for an unknown compression.
 */
export async function readMessages(
  body: AsyncIterable<Uint8Array>,
  encoding: () => string | undefined,
): Promise<{ readonly count: number; readonly bytes: Buffer }> {
  const messages: Buffer[] = [];
  let chunks: Buffer[] = [];
  let have = 0;
  for await (const chunk of body) {
    chunks.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
    have += chunk.byteLength;
    // Joining at every chunk would copy a big message again and again.
    let need = wanted(chunks, have);
    while (have >= need) {
      const all = Buffer.concat(chunks);
      messages.push(await unpack(all.readUInt8(0), all.subarray(PREFIX, need), encoding()));
      chunks = all.length > need ? [all.subarray(need)] : [];
      have = all.length - need;
      need = wanted(chunks, have);
    }
  }
  if (have > 0) throw new Failure("INTERNAL", "INVALID_FRAME", `the gRPC body ends ${have} bytes into a message`);
  return {
    count: messages.length,
    bytes: messages.length === 1 ? (messages[0] ?? Buffer.alloc(0)) : Buffer.concat(messages),
  };
}

/** Bytes up to the end of the first message; Infinity while its prefix is not whole. */
function wanted(chunks: Buffer[], have: number): number {
  if (have < PREFIX) return Infinity;
  const first = chunks[0] !== undefined && chunks[0].length >= PREFIX ? chunks[0] : Buffer.concat(chunks, PREFIX);
  const length = first.readUInt32BE(1);
  if (length > MAX_MESSAGE_BYTES)
    throw new Failure(
      "RESOURCE_EXHAUSTED",
      "MESSAGE_TOO_BIG",
      `the gRPC message has ${length} bytes and the limit is ${MAX_MESSAGE_BYTES}`,
    );
  return PREFIX + length;
}

async function unpack(flag: number, message: Buffer, encoding: string | undefined): Promise<Buffer> {
  if (flag === 0) return message;
  if (flag !== 1 || encoding !== "gzip")
    throw new Failure(
      "UNIMPLEMENTED",
      "UNKNOWN_COMPRESSION",
      `gRPC messages compressed as ${JSON.stringify(encoding ?? "identity")} cannot be read: use gzip or none`,
    );
  return await inflate(message, { maxOutputLength: MAX_MESSAGE_BYTES });
}

const UNITS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/** Milliseconds of a `grpc-timeout` header; undefined for none, or for one that cannot be read. */
export function parseTimeout(header: string | undefined): number | undefined {
  const match = /^(\d{1,8})([HMSmun])$/.exec(header ?? "");
  return match ? Number(match[1]) * (UNITS[match[2] ?? ""] ?? 0) : undefined;
}

export function formatTimeout(milliseconds: number): string {
  const whole = Math.max(0, Math.ceil(milliseconds));
  return whole < 1e8 ? `${whole}m` : `${Math.min(Math.ceil(whole / 1000), 99_999_999)}S`;
}

/** The trailers that end a call. `grpc-message` is percent-encoded UTF-8. */
export function statusTrailers(code: Code | "OK", message = ""): Record<string, string> {
  return {
    "grpc-status": String(CODES[code]),
    ...(message === "" ? {} : { "grpc-message": encodeMessage(message) }),
  };
}

function encodeMessage(message: string): string {
  return [...Buffer.from(message.toWellFormed())]
    .map((byte) =>
      byte >= 0x20 && byte <= 0x7e && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`,
    )
    .join("");
}

/** Reads `grpc-message`; what is not valid percent-encoding stays as it is. */
export function decodeMessage(header: string): string {
  try {
    return decodeURIComponent(header);
  } catch {
    return header;
  }
}
