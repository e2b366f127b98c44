import { Failure } from "#base";
import { MANIFEST_LIMIT, digestOf, algorithmOf, type Descriptor } from "#oci";
import { networkFailure } from "./network-failure.ts";
import type { WireResponse } from "./wire-response.ts";

/** Reads a whole body of at most `limit` bytes. @throws Failure TOO_LARGE, REGISTRY_UNAVAILABLE; the signal's reason */
export async function readAll(
  response: WireResponse,
  url: URL,
  limit: number,
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  const bytes = await readUpTo(response, url, limit, signal);
  if (bytes !== undefined) return bytes;
  const message = `${url.host}: the answer to ${url.pathname} is larger than ${limit} bytes`;
  throw new Failure("RESOURCE_EXHAUSTED", "TOO_LARGE", message);
}

/** The content of a descriptor. @throws Failure DIGEST_MISMATCH, SIZE_MISMATCH, REGISTRY_UNAVAILABLE; the signal's reason */
export async function readContent(
  response: WireResponse,
  url: URL,
  target: Descriptor,
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  const bytes = await readUpTo(response, url, target.size, signal);
  if (bytes === undefined) {
    const message = `${url.host} sent more than the ${target.size} bytes of ${target.digest}`;
    throw new Failure("DATA_LOSS", "SIZE_MISMATCH", message);
  }
  verify(bytes, target, url.host);
  return bytes;
}

/** Undefined where there are more than `limit` bytes; the rest is not read. */
export async function readUpTo(
  response: WireResponse,
  url: URL,
  limit: number,
  signal: AbortSignal | undefined,
): Promise<Buffer | undefined> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of response.body) {
      chunks.push(chunk);
      length += chunk.length;
      if (length > limit) return undefined;
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw networkFailure("GET", url, error);
  }
  return Buffer.concat(chunks, length);
}

/** @throws Failure DIGEST_MISMATCH, SIZE_MISMATCH naming digest and host */
function verify(bytes: Uint8Array, target: Descriptor, from: string): void {
  if (bytes.byteLength !== target.size)
    throw new Failure(
      "DATA_LOSS",
      "SIZE_MISMATCH",
      `${from} sent ${bytes.byteLength} bytes for ${target.digest}, which has ${target.size}`,
    );
  const actual = digestOf(bytes, algorithmOf(target.digest));
  if (actual !== target.digest)
    throw new Failure(
      "DATA_LOSS",
      "DIGEST_MISMATCH",
      `${from} sent wrong bytes for ${target.digest}: their digest is ${actual}`,
    );
}

/**
 * Passes on exactly `length` bytes of a body, or throws: fewer are a broken connection (come again for the rest), more are a
 * lie about the blob.
 */
export async function* exactly(
  body: AsyncIterable<Uint8Array>,
  length: number,
  blob: {
    readonly digest: string;
    readonly url: URL;
    readonly signal: AbortSignal | undefined;
    readonly onBroken: () => void;
    readonly onWhole: () => void;
  },
): AsyncGenerator<Uint8Array, void, undefined> {
  const { digest, url, signal, onBroken, onWhole } = blob;
  let received = 0;
  try {
    for await (const chunk of body) {
      received += chunk.byteLength;
      if (received > length)
        throw new Failure(
          "DATA_LOSS",
          "SIZE_MISMATCH",
          `${url.host} sent more than the ${length} bytes asked for of ${digest}`,
        );
      yield chunk;
    }
  } catch (error) {
    signal?.throwIfAborted();
    onBroken();
    if (error instanceof Failure) throw error;
    const { message } = networkFailure("GET", url, error);
    throw new Failure(
      "UNAVAILABLE",
      "CONNECTION_LOST",
      `${message}, after ${received} of ${length} bytes of ${digest}`,
      { cause: error },
    );
  }
  if (received === length) return onWhole();
  onBroken();
  throw new Failure(
    "UNAVAILABLE",
    "CONNECTION_LOST",
    `${url.host} ended the answer after ${received} of ${length} bytes of ${digest}`,
  );
}

/** Content that stands in its descriptor (image-spec, descriptor.md, `data`); undefined where it does not. */
export function embedded(target: Descriptor): Uint8Array | undefined {
  if (target.data === undefined || target.size > MANIFEST_LIMIT) return undefined;
  const bytes = Buffer.from(target.data, "base64");
  verify(bytes, target, "the descriptor's own data");
  return bytes;
}
