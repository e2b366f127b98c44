import assert from "node:assert/strict";
import { test } from "node:test";
import { digestOf } from "./digest.ts";
import { choosePlatform, hostPlatform } from "./platform.ts";
import { MEDIA, parseManifest, type Index } from "./manifest.ts";

const blob = { mediaType: MEDIA.layer, digest: digestOf("x"), size: 1 };
const bytes = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

test("a manifest is read with its layers in order", () => {
  const manifest = parseManifest(
    bytes({ schemaVersion: 2, mediaType: MEDIA.manifest, artifactType: "a/b", config: blob, layers: [blob, blob] }),
  );
  assert.equal(manifest.kind, "manifest");
  assert.equal(manifest.artifactType, "a/b");
  assert.equal(manifest.kind === "manifest" && manifest.layers.length, 2);
});

test("a manifest without layers has none", () => {
  const manifest = parseManifest(bytes({ schemaVersion: 2, config: blob }), MEDIA.manifest);
  assert.deepEqual(manifest.kind === "manifest" && manifest.layers, []);
});

test("an index is told by its media type, or by its shape where it has none", () => {
  assert.equal(parseManifest(bytes({ schemaVersion: 2, manifests: [blob] })).kind, "index");
  assert.equal(parseManifest(bytes({ schemaVersion: 2, manifests: [] }), MEDIA.dockerIndex).kind, "index");
});

for (const [why, value, words] of [
  ["no JSON", "{", /not JSON/],
  ["a list", [], /not a JSON object/],
  ["schema 1", { schemaVersion: 1 }, /schema 1/],
  ["no config", { schemaVersion: 2, layers: [] }, /config is not a descriptor/],
  ["a bad digest", { config: blob, layers: [{ ...blob, digest: "sha256:1" }] }, /layers\[0\]\.digest/],
  ["a negative size", { config: blob, layers: [blob, { ...blob, size: -1 }] }, /layers\[1\]\.size/],
  ["a size beyond 2^53", { config: { ...blob, size: 2 ** 60 }, layers: [] }, /config\.size/],
  ["annotations that are no strings", { config: blob, layers: [], annotations: { a: 1 } }, /annotations\["a"\]/],
] as const)
  test(`${why} is refused, naming the field`, () => {
    const input = typeof value === "string" ? Buffer.from(value) : bytes(value);
    assert.throws(() => parseManifest(input), { reason: "INVALID_MANIFEST", message: words });
  });

const entry = (digest: string, os: string, architecture: string, variant?: string): Index["manifests"][number] => ({
  ...blob,
  digest: digestOf(digest),
  platform: { os, architecture, ...(variant === undefined ? {} : { variant }) },
});
const index = (...manifests: Index["manifests"]): Index => ({ kind: "index", mediaType: MEDIA.index, manifests });

test("the host's platform is chosen, never an attestation's", () => {
  const list = index(
    entry("att", "unknown", "unknown"),
    entry("arm", "linux", "arm64"),
    entry("amd", "linux", "amd64"),
  );
  assert.equal(choosePlatform(list, hostPlatform("x64"))?.digest, digestOf("amd"));
  assert.equal(choosePlatform(list, hostPlatform("arm64"))?.digest, digestOf("arm"));
  assert.equal(choosePlatform(list, hostPlatform("s390x")), undefined);
});

test("the best variant that the host can run wins; the first of equals", () => {
  const list = index(
    entry("v5", "linux", "arm", "v5"),
    entry("v7", "linux", "arm", "v7"),
    entry("v7b", "linux", "arm", "v7"),
    entry("v8", "linux", "arm", "v8"),
  );
  assert.equal(choosePlatform(list, hostPlatform("arm"))?.digest, digestOf("v7"));
});

test("amd64/v3 is not for a host that says nothing of v3", () => {
  const list = index(entry("v3", "linux", "amd64", "v3"), entry("v1", "linux", "amd64"));
  assert.equal(choosePlatform(list, hostPlatform("x64"))?.digest, digestOf("v1"));
});

test("an entry without a platform serves when nothing names the host", () => {
  assert.equal(choosePlatform(index(blob), hostPlatform("x64"))?.digest, blob.digest);
});
