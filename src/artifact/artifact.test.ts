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
  assert.deepEqual(plan(of, json({})).parts, ["sniff foo--1.0.bottle.tar.gz", "layer"]);
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

test("layers of other snapshotters are refused, for they are no tars", () => {
  for (const layer of [
    blob("application/vnd.oci.image.layer.nydus.blob.v1"),
    blob(`${TAR}+gzip`, { "containerd.io/snapshot/nydus-blob": "true" }),
    blob(`${TAR}+gzip`, { "containerd.io/snapshot/overlaybd/blob-digest": "sha256:1" }),
  ])
    refuses(() => plan(manifest(MEDIA.imageConfig, [layer]), json({})), "UNSUPPORTED_LAYER", layer.digest);
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
  const layers = [titled("a.txt"), titled("./sub//b.tar.gz", `${TAR}+gzip`), directory];
  const parts = ["file a.txt", "file sub/b.tar.gz", "archive data/set→data/set"];
  assert.deepEqual(plan(manifest(MEDIA.empty, layers, "application/vnd.unknown.artifact.v1")), { name: "oras", parts });
  assert.deepEqual(plan(manifest("application/vnd.unknown.config.v1+json", layers)), { name: "oras", parts });
});

test("ORAS: the working directory itself, pushed as a directory, is the root", () => {
  const root = blob(`${TAR}+gzip`, { "org.opencontainers.image.title": ".", "io.deis.oras.content.unpack": "true" });
  assert.deepEqual(planParts(manifest(MEDIA.empty, [root]), NONE).parts, [{ kind: "archive", blob: root }]);
});

test("blobs without a name (AIKit's, signatures, attestations): unpacked if they are tars, else named by their digest", () => {
  const layers = [blob("application/octet-stream"), blob(`${TAR}+zstd`)];
  const parts = layers.map(({ digest }) => `sniff sha256-${hexOf(digest)}`);
  assert.deepEqual(plan(manifest(MEDIA.empty, layers, "application/vnd.unknown.artifact.v1")), {
    name: "generic",
    parts,
  });
  const signature = blob("application/vnd.dev.cosign.simplesigning.v1+json");
  assert.deepEqual(plan(manifest(MEDIA.imageConfig, [signature])).parts, [`sniff sha256-${hexOf(signature.digest)}`]);
});

test("no layers, or image-spec's empty one, are an empty directory", () => {
  assert.deepEqual(plan(manifest(MEDIA.empty, [])), { name: "generic", parts: [] });
  assert.deepEqual(plan(manifest(MEDIA.empty, [blob(MEDIA.empty)])), { name: "generic", parts: [] });
});

const MODELPACK = "application/vnd.cncf.model.config.v1+json";
const filepath = (path: string): Record<string, string> => ({ "org.cncf.model.filepath": path });

test("ModelPack and CNAI: raw files with their attributes, tars by their first bytes", () => {
  const metadata = { name: "x", mode: 0o640, uid: 7, gid: 8, size: 1, mtime: "1970-01-01T00:00:01.5Z", typeflag: 0 };
  const annotations = { ...filepath("a/w.safetensors"), "org.cncf.model.file.metadata+json": JSON.stringify(metadata) };
  const raw = blob("application/vnd.cncf.model.weight.v1.raw", annotations);
  const { format, parts } = planParts(manifest(MODELPACK, [raw]), NONE);
  assert.equal(format.name, "modelpack");
  assert.deepEqual(parts, [
    { kind: "file", blob: raw, path: "a/w.safetensors", attributes: { mode: 0o640, uid: 7, gid: 8, mtime: 1.5 } },
  ]);
  const layers = [
    blob("application/vnd.cncf.model.weight.config.v1.tar+gzip", filepath("config")),
    blob("application/vnd.cncf.model.doc.v1.tar+zstd", filepath("docs")),
    blob("application/vnd.cncf.model.weight.v1.gguf", filepath("m.gguf")),
    blob("application/vnd.kitops.modelkit.config.v1+json"),
  ];
  assert.deepEqual(plan(manifest(MODELPACK, layers)).parts, [
    "sniff config",
    "sniff docs",
    "file m.gguf",
    "file Kitfile",
  ]);
  const old = blob("application/vnd.cnai.model.weight.v1.raw", { "org.cnai.model.filepath": "m.bin" });
  assert.deepEqual(plan(manifest("application/vnd.cnai.model.config.v1+json", [old])), {
    name: "modelpack",
    parts: ["file m.bin"],
  });
  assert.equal(plan(manifest(MEDIA.empty, [raw])).name, "modelpack", "known without its config and artifact type");
  assert.equal(plan(manifest(MEDIA.empty, [], "application/vnd.cncf.model.manifest.v1+json")).name, "modelpack");
});

test("ModelPack: the path annotation comes before the title, and metadata that makes no sense is passed over", () => {
  const annotations = { ...filepath("real"), "org.opencontainers.image.title": "title" };
  const raw = (metadata: string): Descriptor =>
    blob("application/vnd.cncf.model.weight.v1.raw", { ...annotations, "org.cncf.model.file.metadata+json": metadata });
  for (const bad of ["{", "null", "7", JSON.stringify({ mode: -1, uid: 2 ** 40, gid: "x", mtime: "soon" })]) {
    const [part] = planParts(manifest(MODELPACK, [raw(bad)]), NONE).parts;
    assert.ok(part?.kind === "file" && part.path === "real");
    assert.deepEqual(part.attributes ?? {}, {});
  }
});

const KIT = "application/vnd.kitops.modelkit.config.v1+json";
const kit = (type: string, annotations: Record<string, string> = {}, content?: string): Descriptor =>
  blob(`application/vnd.kitops.modelkit.${type}`, annotations, content);

test("KitOps: tars count from the root, raw files have their paths, the Kitfile is there", () => {
  const layers = [kit("model.v1.tar"), kit("docs.v1.tar+gzip"), kit("dataset.v1.raw", filepath("data/set.csv"))];
  const [model, docs] = layers;
  const kitfile = {
    model: { path: "weights/model.bin", digest: model?.digest },
    docs: [{ path: "docs/README.md", digest: docs?.digest }],
  };
  assert.deepEqual(plan(manifest(KIT, layers), json(kitfile)), {
    name: "kitops",
    parts: ["file Kitfile", "archive →", "archive →", "file data/set.csv"],
  });
  const raw = kit("model.v1.raw+gzip");
  const { parts } = planParts(manifest(KIT, [raw]), json({ model: { path: "./m.bin", digest: raw.digest } }));
  assert.deepEqual(parts[1], { kind: "file", blob: raw, path: "m.bin", inflate: true });
});

test("KitOps: kits without digests go by the order of the Kitfile, each sort of layer for itself", () => {
  const prompt = { "ml.kitops.modelkit.layer-subtype": "prompt" };
  const layers = [
    kit("code.v1.tar", {}, "1"),
    kit("dataset.v1.tar", {}, "2"),
    kit("model.v1.tar", {}, "3"),
    kit("dataset.v1.tar", {}, "4"),
    kit("code.v1.tar", prompt, "5"),
    kit("modelpart.v1.tar", {}, "6"),
    kit("docs.v1.tar", {}, "7"),
  ];
  const kitfile = {
    model: { path: "./m/model.bin", parts: [{ path: "m/parts/p1" }] },
    datasets: [{ path: "data/one" }, { path: "far", remotePath: "s3://x" }, { path: "two" }],
    code: [{ path: "src/a" }],
    prompts: [{ path: "prompts/p.md" }],
  };
  assert.deepEqual(plan(manifest(KIT, layers), json(kitfile)).parts, [
    "file Kitfile",
    "archive →src",
    "archive →data",
    "archive →m",
    "archive →",
    "archive →prompts",
    "archive →m/parts",
    "archive →",
  ]);
  const bad = json({ code: [{ path: "../x" }] });
  refuses(() => plan(manifest(KIT, layers), bad), "UNSAFE_PATH", layers[0]?.digest ?? "");
});

test("KitOps: a kit that borrows its model from another kit is refused with that kit's name", () => {
  const of = manifest(KIT, [kit("code.v1.tar")]);
  const kitfile = json({ model: { path: "ghcr.io/org/base:v1" }, code: [{ path: "c" }] });
  refuses(() => plan(of, kitfile), "UNSUPPORTED_ARTIFACT", "ghcr.io/org/base:v1");
  refuses(() => plan(manifest(KIT, []), json([])), "INVALID_CONFIG", /sha256/);
});

const docker = (type: string, annotations: Record<string, string> = {}, content?: string): Descriptor =>
  blob(`application/vnd.docker.ai.${type}`, annotations, content);

test("Docker Model Runner 0.1: names by what the files are", () => {
  const config = "application/vnd.docker.ai.model.config.v0.1+json";
  const layers = [
    docker("gguf.v3"),
    docker("mmproj"),
    docker("gguf.v3.lora"),
    docker("license", {}, "1"),
    docker("license", {}, "2"),
    docker("chat.template.jinja"),
  ];
  assert.deepEqual(plan(manifest(config, layers)), {
    name: "docker-model",
    parts: [
      "file model.gguf",
      "file model.mmproj",
      "file adapter.gguf",
      "file LICENSE-00001-of-00002",
      "file LICENSE-00002-of-00002",
      "file template.jinja",
    ],
  });
  const shards = [docker("safetensors", {}, "1"), docker("safetensors", {}, "2"), docker("vllm.config.tar")];
  assert.deepEqual(plan(manifest(config, shards)).parts, [
    "file model-00001-of-00002.safetensors",
    "file model-00002-of-00002.safetensors",
    `sniff sha256-${hexOf(shards[2]?.digest ?? digestOf(""))}`,
  ]);
});

test("Docker Model Runner 0.2: names by annotation", () => {
  const layers = [
    docker("safetensors", filepath("unet/model.safetensors")),
    docker("model.file", filepath("config.json")),
  ];
  assert.deepEqual(plan(manifest("application/vnd.docker.ai.model.config.v0.2+json", layers)), {
    name: "docker-model",
    parts: ["file unet/model.safetensors", "file config.json"],
  });
});

test("Ollama: names by what the layers are, and by the descriptor's own name", () => {
  const layer = (type: string, content = type): Descriptor => blob(`application/vnd.ollama.image.${type}`, {}, content);
  const layers = [
    layer("model"),
    layer("projector"),
    layer("template"),
    layer("system"),
    layer("params"),
    layer("license", "1"),
    layer("license", "2"),
    { ...layer("tensor"), name: "model.layers.0.weight" },
    { ...layer("json"), name: "config.json" },
  ];
  assert.deepEqual(plan(manifest(MEDIA.dockerConfig, layers)), {
    name: "ollama",
    parts: [
      "file model.gguf",
      "file projector.gguf",
      "file template",
      "file system",
      "file params.json",
      "file license-00001-of-00002",
      "file license-00002-of-00002",
      "file model.layers.0.weight",
      "file config.json",
    ],
  });
  const unsafe = { ...layer("tensor"), name: "../x" };
  refuses(() => plan(manifest(MEDIA.dockerConfig, [unsafe])), "UNSAFE_PATH", unsafe.digest);
});

test("Helm: chart and provenance, in any order", () => {
  const config = "application/vnd.cncf.helm.config.v1+json";
  const chart = blob("application/vnd.cncf.helm.chart.content.v1.tar+gzip");
  const prov = blob("application/vnd.cncf.helm.chart.provenance.v1.prov");
  const sniffed = `sniff sha256-${hexOf(chart.digest)}`;
  assert.deepEqual(plan(manifest(config, [prov, chart]), json({ name: "web", version: "1.2.3+b" })), {
    name: "helm",
    parts: ["file web-1.2.3+b.tgz.prov", sniffed],
  });
  assert.deepEqual(plan(manifest(config, [prov]), json({ name: "../web", version: "1" })).parts, [
    `file sha256-${hexOf(prov.digest)}.prov`,
  ]);
  assert.match(plan(manifest(config, [blob("application/tar+gzip")])).parts[0] ?? "", /^sniff/);
});

test("Flux: an archive or one static file", () => {
  const config = "application/vnd.cncf.flux.config.v1+json";
  const content = (suffix: string): string[] =>
    plan(manifest(config, [blob(`application/vnd.cncf.flux.content.v1${suffix}`)])).parts;
  assert.deepEqual(content(".tar+gzip"), ["sniff content.tar.gz"]);
  assert.deepEqual(content(".yaml"), ["sniff content.yaml"]);
  assert.deepEqual(content(""), ["sniff content"]);
  assert.equal(plan(manifest(config, [])).name, "flux");
});

test("WebAssembly: module.wasm unless it has a title", () => {
  const module = blob("application/wasm");
  assert.deepEqual(plan(manifest("application/vnd.wasm.config.v0+json", [module])), {
    name: "wasm",
    parts: ["file module.wasm"],
  });
  const old = titled("app.wasm", "application/vnd.wasm.content.layer.v1+wasm");
  assert.deepEqual(plan(manifest("application/vnd.wasm.config.v1+json", [old])).parts, ["file app.wasm"]);
  assert.equal(plan(manifest(MEDIA.empty, [module])).name, "wasm");
});

test("Homebrew: a bottle is an image with a name of its own", () => {
  const of = {
    ...manifest(MEDIA.imageConfig, [titled("foo--1.0.bottle.tar.gz", `${TAR}+gzip`)]),
    annotations: { "com.github.package.type": "homebrew_bottle" },
  };
  const config = json({ rootfs: { diff_ids: ["sha256:1"] } });
  assert.deepEqual(plan(of, config), { name: "homebrew", parts: ["layer"] });
});

test("unsafe names are refused, and the blob is named", () => {
  for (const path of ["/etc/passwd", "../x", "a/../../b", "a/..", "x\0", "n".repeat(256), "a/".repeat(2_000_000)]) {
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

test("a manifest full of deep paths is planned in its own time, not in that of their square", () => {
  const layers = Array.from({ length: 1000 }, (_, i) => titled(`${"d/".repeat(2000)}${i}`, "text/plain"));
  assert.equal(plan(manifest(MEDIA.empty, layers)).parts.length, 1000);
  refuses(() => plan(manifest(MEDIA.empty, [...layers, titled("d/d", "text/plain")])), "UNSAFE_PATH", /lies below/);
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
