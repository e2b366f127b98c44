import { Failure, type CallOptions } from "#base";
import {
  digestOf,
  formatReference,
  MANIFEST_LIMIT,
  parseDigest,
  parseManifest,
  type ByteRange,
  type Descriptor,
  type Digest,
  type OpenBlob,
  type Reference,
  type Source,
} from "#oci";
import type { ContentClient } from "#wire";

/** containerd's content store as a source: what it pulled for containers need not be fetched again for a volume. */
export class ContainerdContent implements Source {
  readonly name = "containerd";
  readonly #content: ContentClient;

  constructor(content: ContentClient) {
    this.#content = content;
  }

  /** Only by digest: names are the CRI plugin's. */
  async resolve(reference: Reference, call: CallOptions = {}): Promise<Descriptor> {
    if (reference.digest === undefined)
      throw new Failure(
        "NOT_FOUND",
        "NOT_FOUND",
        `containerd's content store has no names: ${formatReference(reference)}`,
      );
    const { info } = await this.#content.info({ digest: reference.digest }, call);
    const size = Number(info?.size ?? 0n);
    if (size > MANIFEST_LIMIT)
      throw new Failure(
        "NOT_FOUND",
        "NOT_FOUND",
        `${reference.digest} in containerd is no manifest: it has ${size} bytes`,
      );
    const descriptor = { mediaType: "", digest: reference.digest, size };
    const { mediaType } = parseManifest(await this.fetch(descriptor, call));
    return { ...descriptor, mediaType };
  }

  async fetch(target: Descriptor, call: CallOptions = {}): Promise<Uint8Array> {
    const { body } = await this.open(target, { start: 0, end: target.size }, call);
    const bytes = Buffer.concat(await Array.fromAsync(body));
    if (bytes.length !== target.size || digestOf(bytes) !== target.digest)
      throw new Failure(
        "DATA_LOSS",
        "DIGEST_MISMATCH",
        `containerd's content ${target.digest} does not match its digest`,
      );
    return bytes;
  }

  async open(target: Descriptor, range: ByteRange, call: CallOptions = {}): Promise<OpenBlob> {
    // Asked first, so that what is missing is missing now and not in the middle of the body.
    await this.#content.info({ digest: target.digest }, call);
    return { start: range.start, body: this.#read(target.digest, range, call) };
  }

  async *#read(digest: Digest, { start, end }: ByteRange, { signal }: CallOptions): AsyncGenerator<Uint8Array> {
    if (end <= start) return;
    const request = { digest, offset: BigInt(start), size: BigInt(end - start) };
    for await (const { data } of this.#content.read(request, { signal })) yield data;
  }

  async *referrers(): AsyncIterable<Descriptor> {}

  /** The manifests here whose config this is: containerd labels each with what it refers to. */
  async manifestsOf(config: Digest, call: CallOptions = {}): Promise<readonly Digest[]> {
    const found: Digest[] = [];
    const filters = [`labels."containerd.io/gc.ref.content.config"==${JSON.stringify(config)}`];
    for await (const { info } of this.#content.list({ filters }, call))
      found.push(...info.map(({ digest }) => parseDigest(digest)));
    return found;
  }
}
