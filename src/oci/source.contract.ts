import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { MEDIA, parseManifest, parseReference, type Descriptor, type Reference, type Source } from "./index.ts";
import { digestOf } from "./digest.ts";

/** What a source under contract is filled with. */
export interface Content {
  /** Every blob and manifest, by digest. */
  readonly bytes: ReadonlyMap<string, Uint8Array>;
  readonly reference: Reference;
  /** What the reference resolves to: a manifest with one layer. */
  readonly manifest: Descriptor;
  /** A manifest whose subject is that one. */
  readonly referrer: Descriptor;
  readonly layer: Descriptor;
  /** Its bytes are there under another digest than theirs. */
  readonly spoilt: Descriptor;
}

/** Fills a source; what has to be released goes to `t.after`. */
export type MakeSource = (t: TestContext, content: Content) => Promise<Source>;

/** What every Source promises, whatever it reads from. */
export function sourceContract(name: string, make: MakeSource): void {
  const content = makeContent();
  const { reference, manifest, referrer, layer, spoilt, bytes } = content;

  test(`${name}: a reference resolves to its descriptor, by tag and by digest`, async (t) => {
    const source = await make(t, content);
    const { digest, size } = await source.resolve(reference);
    assert.deepEqual({ digest, size }, { digest: manifest.digest, size: manifest.size });
    const { registry, repository } = reference;
    const pinned = await source.resolve({ registry, repository, digest: manifest.digest });
    assert.equal(pinned.digest, manifest.digest);
    await assert.rejects(source.resolve({ registry, repository, tag: "missing" }), {
      code: "NOT_FOUND",
      reason: "MANIFEST_UNKNOWN",
      message: /^failed to resolve image: .*:missing: not found/,
    });
  });

  test(`${name}: what is fetched is verified`, async (t) => {
    const source = await make(t, content);
    const read = parseManifest(await source.fetch(manifest));
    assert.ok(read.kind === "manifest");
    assert.equal(read.layers[0]?.digest, layer.digest);
    assert.deepEqual(Buffer.from(await source.fetch(layer)), bytes.get(layer.digest));
    await assert.rejects(source.fetch(spoilt), { code: "DATA_LOSS", reason: "DIGEST_MISMATCH" });
    await assert.rejects(source.fetch({ ...layer, size: layer.size - 1 }), { code: "DATA_LOSS" });
    const missing = { ...layer, digest: digestOf("missing") };
    await assert.rejects(source.fetch(missing), { code: "NOT_FOUND", reason: "BLOB_UNKNOWN" });
  });

  test(`${name}: a blob is read from any offset`, async (t) => {
    const source = await make(t, content);
    const whole = Buffer.from(bytes.get(layer.digest) ?? assert.fail());
    for (const [from, to] of [
      [0, layer.size],
      [0, 1],
      [layer.size - 1, layer.size],
      [70_000, 200_000],
    ] as const) {
      const { start, body, release } = await source.open(layer, { start: from, end: to });
      const pieces: Uint8Array[] = [];
      for await (const piece of body) {
        pieces.push(Buffer.from(piece));
        release?.(piece);
      }
      assert.ok(start <= from);
      assert.ok(
        Buffer.concat(pieces)
          .subarray(from - start, to - start)
          .equals(whole.subarray(from, to)),
      );
    }
    const missing = { ...layer, digest: digestOf("missing") };
    await assert.rejects(source.open(missing, { start: 0, end: 1 }), { code: "NOT_FOUND", reason: "BLOB_UNKNOWN" });
  });

  test(`${name}: an aborted read ends with the signal's reason`, async (t) => {
    const source = await make(t, content);
    const controller = new AbortController();
    const reason = new Error("enough");
    const read = async (): Promise<void> => {
      const { body } = await source.open(layer, { start: 0, end: layer.size }, { signal: controller.signal });
      controller.abort(reason);
      for await (const _ of body);
    };
    await assert.rejects(read(), reason);
  });

  test(`${name}: referrers are found by their subject`, async (t) => {
    const source = await make(t, content);
    const digests = async (subject: Descriptor): Promise<readonly string[]> =>
      (await Array.fromAsync(source.referrers(subject))).map(({ digest }) => digest);
    assert.deepEqual(await digests(manifest), [referrer.digest]);
    assert.deepEqual(await digests(referrer), []);
  });
}

function makeContent(): Content {
  const bytes = new Map<string, Uint8Array>();
  const add = (content: Uint8Array, mediaType: string): Descriptor => {
    const digest = digestOf(content);
    bytes.set(digest, content);
    return { mediaType, digest, size: content.length };
  };
  const addManifest = (layers: readonly Descriptor[], more: object): Descriptor =>
    add(
      Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MEDIA.manifest, config, layers, ...more })),
      MEDIA.manifest,
    );
  const config = add(Buffer.from("{}"), MEDIA.empty);
  const layer = add(Buffer.from(Array.from({ length: 3_000_000 }, (_, i) => i % 251)), MEDIA.layer);
  const manifest = addManifest([layer], {});
  const referrer = addManifest([], { subject: manifest });
  const spoilt = add(Buffer.from("spoilt"), MEDIA.layer);
  bytes.set(spoilt.digest, Buffer.from("spoiled").subarray(0, 6));
  return { bytes, reference: parseReference("registry.example/a/b:v1"), manifest, referrer, layer, spoilt };
}
