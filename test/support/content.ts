import { digestOf, MEDIA, type Descriptor } from "#oci";

/** All bytes of an iterable. */
export async function collect(bytes: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of bytes) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

/** Bytes in pieces, as a Destination wants them. */
export function pieces(bytes: Uint8Array, size = 100_000): () => AsyncIterable<Uint8Array> {
  return async function* () {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
  };
}

export function describe(bytes: Uint8Array, mediaType = "application/octet-stream"): Descriptor {
  return { mediaType, digest: digestOf(bytes), size: bytes.length };
}

/** A manifest over layers, and its bytes. */
export function manifestOf(
  config: Descriptor,
  layers: readonly Descriptor[],
  more: object = {},
): { readonly descriptor: Descriptor; readonly bytes: Buffer } {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MEDIA.manifest, config, layers, ...more }));
  return { descriptor: describe(bytes, MEDIA.manifest), bytes };
}
