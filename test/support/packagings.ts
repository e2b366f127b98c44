// One small object of every packaging in the field, as the tools that make them lay them out: manifest, config and blobs.
import { gzipSync, zstdCompressSync } from "node:zlib";
import { digestOf, MEDIA, type Digest } from "#oci";
import { TAR_END, tarHeader, tarPadding, type TarHeader } from "#tar";

export interface PackagedObject {
  readonly manifest: Buffer;
  /** Config and layers, by digest, as a registry holds them. */
  readonly blobs: ReadonlyMap<Digest, Buffer>;
}

type Annotations = Readonly<Record<string, string>>;

interface Layer {
  readonly type: string;
  readonly bytes: Buffer;
  readonly annotations?: Annotations;
  /** Of the descriptor: Ollama's `name`, image-spec's `data`. */
  readonly more?: object;
}

const PLAIN: TarHeader = {
  path: "",
  type: "file",
  mode: 0o644,
  uid: 0,
  gid: 0,
  mtime: { seconds: 1_700_000_000, nanoseconds: 0 },
  size: 0,
  linkname: "",
  devmajor: 0,
  devminor: 0,
  xattrs: new Map(),
};

/** A tar of `d/` directories, `l -> t` symlinks, `h => t` hard links and files that contain their own name. */
export function tarOf(...names: readonly string[]): Buffer {
  const blocks = names.flatMap((text) => {
    const [, path = text, arrow, linkname = ""] = /^(.*?) (->|=>) (.*)$/.exec(text) ?? [];
    const type = arrow === "->" ? "symlink" : arrow === "=>" ? "hardlink" : path.endsWith("/") ? "directory" : "file";
    const content = Buffer.from(type === "file" ? `${path}\n` : "");
    const mode = type === "directory" ? 0o755 : 0o644;
    return [
      tarHeader({ ...PLAIN, path, type, mode, linkname, size: content.length }),
      content,
      tarPadding(content.length),
    ];
  });
  return Buffer.concat([...blocks, TAR_END]);
}

const gzip = (bytes: Buffer): Buffer => gzipSync(bytes, { level: 1 });
const zstd = (bytes: Buffer): Buffer => zstdCompressSync(bytes);
const text = (content: string): Buffer => Buffer.from(content);
const json = (value: object): Buffer => Buffer.from(JSON.stringify(value));
const title = (path: string): Annotations => ({ "org.opencontainers.image.title": path });
const filepath = (path: string): Annotations => ({ "org.cncf.model.filepath": path });
const UNPACK = { "io.deis.oras.content.unpack": "true" };

function object(configType: string, config: Buffer, layers: readonly Layer[], more: object = {}): PackagedObject {
  const blobs = new Map<Digest, Buffer>();
  const put = (bytes: Buffer, mediaType: string): object => {
    const digest = digestOf(bytes);
    blobs.set(digest, bytes);
    return { mediaType, digest, size: bytes.length };
  };
  const manifest = json({
    schemaVersion: 2,
    mediaType: MEDIA.manifest,
    ...more,
    config: put(config, configType),
    layers: layers.map(({ type, bytes, annotations, more }) => ({
      ...put(bytes, type),
      ...(annotations === undefined ? {} : { annotations }),
      ...more,
    })),
  });
  return { manifest, blobs };
}

function imageOf(
  layers: readonly Layer[],
  plain: readonly Buffer[],
  more: object = {},
  type: string = MEDIA.imageConfig,
): PackagedObject {
  const rootfs = { type: "layers", diff_ids: plain.map((bytes) => digestOf(bytes)) };
  return object(type, json({ architecture: "amd64", os: "linux", config: {}, rootfs }), layers, more);
}

const lower = tarOf(
  "etc/",
  "etc/passwd",
  "etc/hosts",
  "lib -> usr/lib",
  "usr/lib/libc.so",
  "var/old/x",
  "bin => usr/lib/libc.so",
);
const upper = tarOf("etc/.wh.hosts", "lib/libm.so", "var/old/y", "var/old/.wh..wh..opq");
const bottle = tarOf("foo/1.0/bin/foo", "foo/1.0/README");
const weights = (name: string): Buffer => text(`weights of ${name}\n`);
const empty = json({});
/** `no tar inside` as gzip. Its digest is a name in the tree, and not every zlib compresses alike. */
const NO_TAR = "1f8b0800000000000003cbcb5728492c52c8cc2bce4c49e502004de0bf930e000000";
const modelpack = (type: string): string => `application/vnd.cncf.model.${type}`;
const kit = (type: string): string => `application/vnd.kitops.modelkit.${type}`;
const docker = (type: string): string => `application/vnd.docker.ai.${type}`;
const ollama = (type: string): string => `application/vnd.ollama.image.${type}`;
const unknown = { artifactType: "application/vnd.unknown.artifact.v1" };

const oldDataset = tarOf("set.csv");
const oldModel = tarOf("model.bin");
const newModel = tarOf("weights/", "weights/model.bin");

export const PACKAGINGS: Readonly<Record<string, PackagedObject>> = {
  image: imageOf(
    [
      { type: `${MEDIA.layer}+gzip`, bytes: gzip(lower) },
      { type: `${MEDIA.layer}+zstd`, bytes: zstd(upper) },
    ],
    [lower, upper],
  ),
  "image-docker": imageOf(
    [{ type: "application/vnd.docker.image.rootfs.diff.tar.gzip", bytes: gzip(lower) }],
    [lower],
    { mediaType: MEDIA.dockerManifest },
    MEDIA.dockerConfig,
  ),
  "image-by-oras": object(MEDIA.imageConfig, empty, [
    { type: `${MEDIA.layer}+gzip`, bytes: gzip(lower), annotations: title("lower.tar.gz") },
    { type: `${MEDIA.layer}+gzip`, bytes: gzip(upper), annotations: title("upper.tar.gz") },
    { type: MEDIA.layer, bytes: text("a file\n"), annotations: title("notes.txt") },
  ]),
  homebrew: imageOf(
    [{ type: `${MEDIA.layer}+gzip`, bytes: gzip(bottle), annotations: title("foo--1.0.bottle.tar.gz") }],
    [bottle],
    { annotations: { "com.github.package.type": "homebrew_bottle" } },
  ),
  oras: object(
    MEDIA.empty,
    empty,
    [
      { type: MEDIA.layer, bytes: text("raw, whatever its type says\n"), annotations: title("notes/read me.txt") },
      { type: MEDIA.layer, bytes: lower, annotations: title("a-tar-as-a-file.tar") },
      {
        type: `${MEDIA.layer}+gzip`,
        bytes: gzip(tarOf("data/set/", "data/set/1.csv", "data/set/sub/2.csv")),
        annotations: { ...title("data/set"), ...UNPACK },
      },
    ],
    unknown,
  ),
  "oras-v1.0": object("application/vnd.unknown.config.v1+json", empty, [
    { type: MEDIA.layer, bytes: text("one\n"), annotations: title("one.txt") },
  ]),
  "modelpack-raw": object(modelpack("config.v1+json"), empty, [
    {
      type: modelpack("weight.v1.raw"),
      bytes: weights("a"),
      annotations: {
        ...filepath("model/a.safetensors"),
        "org.cncf.model.file.metadata+json":
          '{"name":"a.safetensors","mode":416,"uid":1000,"gid":1000,"size":13,"mtime":"2024-05-06T07:08:09Z","typeflag":48}',
      },
    },
    { type: modelpack("doc.v1.raw"), bytes: text("# Read me\n"), annotations: filepath("README.md") },
  ]),
  "modelpack-tar": object(
    modelpack("config.v1+json"),
    empty,
    [
      {
        type: modelpack("weight.v1.tar"),
        bytes: tarOf("model/b.safetensors"),
        annotations: filepath("model/b.safetensors"),
      },
      {
        type: modelpack("weight.config.v1.tar+gzip"),
        bytes: gzip(tarOf("config.json")),
        annotations: filepath("config"),
      },
      { type: modelpack("code.v1.tar+zstd"), bytes: zstd(tarOf("run.py")), annotations: filepath("code") },
    ],
    { artifactType: "application/vnd.cncf.model.manifest.v1+json" },
  ),
  cnai: object("application/vnd.cnai.model.config.v1+json", empty, [
    {
      type: "application/vnd.cnai.model.weight.v1.raw",
      bytes: weights("c"),
      annotations: { "org.cnai.model.filepath": "c.bin" },
    },
    { type: "application/vnd.cnai.model.weight.v1.tar", bytes: tarOf("d.bin") },
  ]),
  kitops: object(
    kit("config.v1+json"),
    json({
      manifestVersion: "1.0.0",
      model: { path: "weights/model.bin", digest: digestOf(newModel) },
      docs: [{ path: "README.md" }],
    }),
    [
      { type: kit("model.v1.tar"), bytes: newModel },
      { type: kit("docs.v1.raw"), bytes: text("# Kit\n"), annotations: filepath("README.md") },
      { type: kit("dataset.v1.raw+gzip"), bytes: gzip(text("1,2\n")), annotations: filepath("data/set.csv") },
    ],
  ),
  "kitops-old": object(
    kit("config.v1+json"),
    json({ manifestVersion: "1.0.0", model: { path: "./m/model.bin" }, datasets: [{ path: "data/set.csv" }] }),
    [
      { type: kit("dataset.v1.tar+gzip"), bytes: gzip(oldDataset) },
      { type: kit("model.v1.tar+gzip"), bytes: gzip(oldModel) },
    ],
  ),
  "docker-model-0.1": object(docker("model.config.v0.1+json"), empty, [
    { type: docker("gguf.v3"), bytes: weights("1") },
    { type: docker("mmproj"), bytes: weights("projector") },
    { type: docker("chat.template.jinja"), bytes: text("{{ messages }}\n") },
    { type: docker("license"), bytes: text("MIT\n") },
  ]),
  "docker-model-0.2": object(docker("model.config.v0.2+json"), empty, [
    { type: docker("safetensors"), bytes: weights("2"), annotations: filepath("unet/model.safetensors") },
    { type: docker("model.file"), bytes: text("{}\n"), annotations: filepath("config.json") },
    { type: docker("dir.tar"), bytes: tarOf("tokenizer/", "tokenizer/vocab.txt") },
  ]),
  ollama: object(
    MEDIA.dockerConfig,
    json({ model_format: "gguf" }),
    [
      { type: ollama("model"), bytes: weights("llama") },
      { type: ollama("template"), bytes: text("{{ .Prompt }}") },
      { type: ollama("params"), bytes: text("{}") },
      { type: ollama("license"), bytes: text("one\n") },
      { type: ollama("license"), bytes: text("two\n") },
      { type: ollama("tensor"), bytes: weights("tensor"), more: { name: "model.layers.0.weight" } },
    ],
    { mediaType: MEDIA.dockerManifest },
  ),
  helm: object("application/vnd.cncf.helm.config.v1+json", json({ name: "web", version: "1.2.3" }), [
    { type: "application/vnd.cncf.helm.chart.provenance.v1.prov", bytes: text("-----BEGIN PGP SIGNED MESSAGE-----\n") },
    {
      type: "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
      bytes: gzip(tarOf("web/Chart.yaml", "web/templates/a.yaml")),
    },
  ]),
  flux: object("application/vnd.cncf.flux.config.v1+json", empty, [
    {
      type: "application/vnd.cncf.flux.content.v1.tar+gzip",
      bytes: gzip(tarOf("./", "./deploy.yaml", "./base/", "./base/kustomization.yaml")),
    },
  ]),
  "flux-static": object("application/vnd.cncf.flux.config.v1+json", empty, [
    { type: "application/vnd.cncf.flux.content.v1.yaml", bytes: text("kind: List\n") },
  ]),
  wasm: object("application/vnd.wasm.config.v0+json", json({ architecture: "wasm" }), [
    { type: "application/wasm", bytes: Buffer.from("0061736d01000000", "hex") },
  ]),
  "wasm-old": object("application/vnd.wasm.config.v1+json", empty, [
    {
      type: "application/vnd.wasm.content.layer.v1+wasm",
      bytes: Buffer.from("0061736d01000000", "hex"),
      annotations: title("app.wasm"),
    },
  ]),
  "aikit-raw": object(MEDIA.empty, empty, [{ type: "application/octet-stream", bytes: weights("aikit") }], unknown),
  "aikit-tar": object(
    MEDIA.empty,
    empty,
    [{ type: MEDIA.layer, bytes: zstd(tarOf("w.gguf", "docs/README.md")) }],
    unknown,
  ),
  "octet-stream": object(MEDIA.empty, empty, [
    { type: "application/octet-stream", bytes: text("bytes\n"), annotations: title("some.bin") },
    { type: "application/octet-stream", bytes: Buffer.from(NO_TAR, "hex") },
  ]),
  "no-layers": object(MEDIA.empty, empty, [], { artifactType: "application/vnd.example.nothing" }),
  "empty-layer": object(MEDIA.empty, empty, [{ type: MEDIA.empty, bytes: empty }], {
    artifactType: "application/vnd.example.nothing",
  }),
  "inline-data": object(MEDIA.empty, empty, [
    {
      type: "text/plain",
      bytes: text("inline\n"),
      annotations: title("inline.txt"),
      more: { data: text("inline\n").toString("base64") },
    },
  ]),
  "cosign-signature": object(MEDIA.imageConfig, empty, [
    {
      type: "application/vnd.dev.cosign.simplesigning.v1+json",
      bytes: json({ critical: {} }),
      annotations: { "dev.cosignproject.cosign/signature": "MEUC" },
    },
  ]),
};
