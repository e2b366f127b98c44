import assert from "node:assert/strict";
import { test } from "node:test";
import { isFailure } from "#base";
import { digestOf, hexOf, MEDIA, type Descriptor, type Manifest } from "#oci";
import { formats, isImage, planParts, type Part } from "#artifact";

const TAR = MEDIA.layer;
const NONE = new Uint8Array();

function blob(
  mediaType: string,
  annotations: Record<string, string> = {},
  content = JSON.stringify(annotations),
): Descriptor {
  return { mediaType, digest: digestOf(mediaType + content), size: 7, annotations };
}

function titled(title: string, mediaType: string = TAR): Descriptor {
  return blob(mediaType, { "org.opencontainers.image.title": title });
}

function manifest(config: string, layers: readonly Descriptor[], artifactType?: string): Manifest {
  return {
    kind: "manifest",
    mediaType: MEDIA.manifest,
    config: blob(config),
    layers,
    ...(artifactType === undefined ? {} : { artifactType }),
  };
}

function json(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}

/** `file a`, `layer`, `archive strip→under`, `sniff a`. */
function told(parts: readonly Part[]): string[] {
  return parts.map((part) => {
    if (part.kind === "layer") return "layer";
    if (part.kind === "archive") return `archive ${part.strip ?? ""}→${part.under ?? ""}`;
    return `${part.kind} ${part.path}`;
  });
}

function plan(of: Manifest, config: Uint8Array = NONE): { name: string; parts: string[] } {
  const { format, parts } = planParts(of, config);
  return { name: format.name, parts: told(parts) };
}

function refuses(run: () => unknown, reason: string, message: string | RegExp): void {
  assert.throws(run, (error) => {
    assert.ok(isFailure(error, reason), String(error));
    assert.match(error.message, typeof message === "string" ? new RegExp(message.replaceAll("+", "\\+")) : message);
    return true;
  });
}

test("images: layers with their diffIDs, whatever their titles", () => {
  const layers = [titled("foo--1.0.bottle.tar.gz", `${TAR}+gzip`), blob(`${TAR}+zstd`)];
  const of = manifest(MEDIA.imageConfig, layers);
  const { format, parts } = planParts(of, json({ rootfs: { type: "layers", diff_ids: ["sha256:1", "sha256:2"] } }));
  assert.equal(format.name, "image");
  assert.deepEqual(parts, [
    { kind: "layer", blob: layers[0], diffId: "sha256:1" },
    { kind: "layer", blob: layers[1], diffId: "sha256:2" },
  ]);
  assert.ok(isImage(of));
  assert.deepEqual(plan(of, json({})).parts, ["layer", "layer"]);
  const docker = manifest(MEDIA.dockerConfig, [blob("application/vnd.docker.image.rootfs.diff.tar.gzip")]);
  assert.ok(isImage(docker));
  assert.equal(plan(docker, json({})).name, "image");
  assert.ok(isImage(manifest(MEDIA.imageConfig, [])), "an image without layers is one");
});

test("images: a config that does not fit is refused with its digest", () => {
  const of = manifest(MEDIA.imageConfig, [blob(TAR)]);
  const digest = of.config.digest;
  refuses(() => plan(of, json({ rootfs: { diff_ids: [] } })), "INVALID_CONFIG", `${digest}.*0 diffIDs for 1 layers`);
  refuses(() => plan(of, json({ rootfs: { diff_ids: [1] } })), "INVALID_CONFIG", digest);
  refuses(() => plan(of, Buffer.from("{")), "INVALID_CONFIG", digest);
  refuses(() => plan(of, json([])), "INVALID_CONFIG", digest);
});

test("images: foreign and encrypted layers are refused with their digest", () => {
  for (const type of [
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    `${TAR}+gzip+encrypted`,
  ]) {
    const layer = blob(type);
    const of = manifest(MEDIA.imageConfig, [layer]);
    assert.ok(isImage(of), type);
    refuses(() => plan(of, json({})), "UNSUPPORTED_LAYER", layer.digest);
  }
});

test("what only borrows an image's config is no image", () => {
  assert.ok(!isImage(manifest(MEDIA.imageConfig, [blob("application/vnd.in-toto+json")])));
  assert.ok(!isImage(manifest(MEDIA.imageConfig, [blob("application/vnd.dev.cosign.simplesigning.v1+json")])));
  assert.ok(!isImage(manifest(MEDIA.dockerConfig, [blob("application/vnd.ollama.image.model")])));
  assert.ok(!isImage(manifest(MEDIA.imageConfig, [blob(TAR)], "application/vnd.example")));
  assert.ok(isImage(manifest(MEDIA.imageConfig, [blob(TAR)], MEDIA.imageConfig)));
  assert.ok(!isImage(manifest(MEDIA.empty, [blob(TAR)])));
});

test("ORAS: files by title whatever their type, directories unpacked where they were", () => {
  const directory = blob(`${TAR}+gzip`, {
    "org.opencontainers.image.title": "data/set",
    "io.deis.oras.content.unpack": "true",
  });
  const of = manifest(MEDIA.empty, [titled("a.txt"), titled("./sub//b.tar.gz", `${TAR}+gzip`), directory]);
  assert.deepEqual(plan(of), { name: "oras", parts: ["file a.txt", "file sub/b.tar.gz", "archive data/set→data/set"] });
});

test("blobs without a name: unpacked if they are tars, else named by their digest", () => {
  const layer = blob("application/octet-stream");
  assert.deepEqual(plan(manifest(MEDIA.empty, [layer])).parts, [`sniff sha256-${hexOf(layer.digest)}`]);
  assert.deepEqual(plan(manifest(MEDIA.empty, [])).parts, []);
});

test("unsafe names are refused, and the blob is named", () => {
  for (const path of ["/etc/passwd", "../x", "a/../../b", "a/..", "x\0", "n".repeat(256)]) {
    const layer = titled(path);
    refuses(() => plan(manifest(MEDIA.empty, [layer])), "UNSAFE_PATH", layer.digest);
  }
  assert.deepEqual(plan(manifest(MEDIA.empty, [titled("a..b/..c/...")])).parts, ["file a..b/..c/..."]);
});

test("no two blobs fight for one path", () => {
  const [a, b] = [titled("x", "text/a"), titled("x", "text/b")];
  refuses(() => plan(manifest(MEDIA.empty, [a, b])), "UNSAFE_PATH", `${b.digest}.*${a.digest}`);
  assert.deepEqual(plan(manifest(MEDIA.empty, [a, a])).parts, ["file x"]);
  const below = titled("x/y/z");
  for (const layers of [
    [a, below],
    [below, a],
  ])
    refuses(() => plan(manifest(MEDIA.empty, layers)), "UNSAFE_PATH", `${below.digest}.*${a.digest}`);
});

test("a SOCI index is refused with the image it belongs to", () => {
  const subject = blob(MEDIA.manifest);
  const of = { ...manifest("application/vnd.amazon.soci.index.v2+json", [blob("application/octet-stream")]), subject };
  refuses(() => plan(of), "UNSUPPORTED_ARTIFACT", subject.digest);
});

test("packagings have names of their own", () => {
  const all = formats.map((format) => format.name);
  assert.equal(new Set(all).size, all.length);
});
