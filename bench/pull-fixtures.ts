// What the pull bench pulls: made by generators, pushed once into a docker-registry on loopback.
import { randomFillSync, createHash } from "node:crypto";
import { createReadStream, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import type { Engine } from "#engine";
import { digestOf, finish, type Descriptor, type Destination, type Digest } from "#oci";
import { TAR_END, tarHeader, tarPadding } from "#tar";

const MIB = 1024 * 1024;

export interface Fixture {
  readonly name: string;
  readonly reference: string;
  /** Where curl gets the one blob, for fixtures that are one. */
  readonly blob?: Digest;
  /** Bytes that end up in the store. */
  readonly stored: number;
  readonly isImage: boolean;
}

export interface Workshop {
  readonly engine: Engine;
  destination(repository: string): Destination;
  /** `127.0.0.1:5000` */
  readonly host: string;
  readonly dir: string;
  /** 1 makes the sizes of the issue; less makes smaller ones. */
  readonly scale: number;
}

const MAKERS = {
  raw: (shop: Workshop) => one(rawBlob(shop)),
  plain: (shop: Workshop) => one(plainLayer(shop)),
  trees,
  layers: (shop: Workshop) => one(manyLayers(shop)),
  files: (shop: Workshop) => one(manyFiles(shop)),
};

/** Each is made when it is asked for; `only` names those that are wanted, where not all are. */
export async function* fixtures(shop: Workshop, only: readonly string[] | undefined): AsyncGenerator<Fixture> {
  for (const [name, make] of Object.entries(MAKERS)) if (only?.includes(name) ?? true) yield* make(shop);
}

async function* one(fixture: Promise<Fixture>): AsyncGenerator<Fixture> {
  yield await fixture;
}

async function rawBlob({ engine, host, dir, scale }: Workshop): Promise<Fixture> {
  const size = Math.ceil(2048 * scale) * MIB;
  const path = join(dir, "raw");
  const blob = await randomFile(path, size);
  const reference = `${host}/raw:v1`;
  await engine.push({ reference, paths: [path] });
  rmSync(path);
  return { name: `${size / MIB} MiB raw blob`, reference, blob, stored: size, isImage: false };
}

async function plainLayer({ engine, host, dir, scale }: Workshop): Promise<Fixture> {
  const size = Math.ceil(2048 * scale) * MIB;
  const root = join(dir, "plain");
  mkdirSync(root);
  await randomFile(join(root, "weights"), size);
  const reference = `${host}/plain:v1`;
  await engine.push({ reference, paths: [root], image: {}, compression: "none" });
  rmSync(root, { recursive: true });
  const { manifest } = await engine.classify({ reference });
  const [layer] = manifest.layers;
  const blob = layer === undefined ? {} : { blob: layer.digest };
  return { name: `${size / MIB} MiB plain tar layer`, reference, ...blob, stored: size, isImage: true };
}

/** About 30,000 files of text, 1.2 GB, that compress to a third. */
async function* trees({ engine, host, dir, scale }: Workshop): AsyncGenerator<Fixture> {
  const root = join(dir, "tree");
  const count = Math.ceil(30_000 * scale);
  const words = Array.from({ length: 4000 }, (_, i) =>
    createHash("md5")
      .update(String(i))
      .digest("hex")
      .slice(0, 3 + (i % 9)),
  );
  const random = generator(7);
  let stored = 0;
  for (let i = 0; i < count; i++) {
    const parent = join(root, `d${i % 97}`, `e${i % 31}`);
    mkdirSync(parent, { recursive: true });
    const length = 200 + Math.floor(random() ** 3 * 26_000);
    const text = Array.from({ length }, () => words[Math.floor(random() ** 2 * words.length)]).join(" ");
    writeFileSync(join(parent, `f${i}.txt`), text);
    stored += text.length;
  }
  for (const compression of ["gzip", "zstd"] as const) {
    const reference = `${host}/tree-${compression}:v1`;
    await engine.push({ reference, paths: [root], image: {}, compression });
    yield {
      name: `${Math.round(stored / MIB)} MiB in ${count} files as ${compression}`,
      reference,
      stored,
      isImage: true,
    };
  }
  rmSync(root, { recursive: true });
}

async function manyLayers(shop: Workshop): Promise<Fixture> {
  const size = Math.ceil(16 * shop.scale) * MIB;
  const layers: Descriptor[] = [];
  const destination = shop.destination("layers");
  for (let i = 0; i < 64; i++) {
    const header = tarHeader({ ...PLAIN, path: `layer-${i}`, size });
    const bytes = Buffer.concat([header, randomFillSync(Buffer.alloc(size)), tarPadding(size), TAR_END]);
    layers.push(await put(destination, bytes, "application/vnd.oci.image.layer.v1.tar"));
  }
  const diffIds = layers.map(({ digest }) => digest);
  const config = { architecture: "amd64", os: "linux", config: {}, rootfs: { type: "layers", diff_ids: diffIds } };
  const reference = await putImage(
    shop,
    destination,
    "layers",
    config,
    "application/vnd.oci.image.config.v1+json",
    layers,
  );
  return { name: `64 layers of ${size / MIB} MiB`, reference, stored: 64 * size, isImage: true };
}

async function manyFiles(shop: Workshop): Promise<Fixture> {
  const count = Math.ceil(2000 * shop.scale);
  const layers: Descriptor[] = [];
  const destination = shop.destination("files");
  for (let i = 0; i < count; i++) {
    const blob = await put(destination, randomFillSync(Buffer.alloc(4096)), "application/octet-stream");
    layers.push({ ...blob, annotations: { "org.opencontainers.image.title": `${i % 20}/file-${i}` } });
  }
  const reference = await putImage(shop, destination, "files", {}, "application/vnd.oci.empty.v1+json", layers);
  return { name: `${count} files of 4 KiB as an artifact`, reference, stored: count * 4096, isImage: false };
}

async function putImage(
  shop: Workshop,
  destination: Destination,
  repository: string,
  config: object,
  configType: string,
  layers: readonly Descriptor[],
): Promise<string> {
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const configBlob = await put(destination, Buffer.from(JSON.stringify(config)), configType);
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, config: configBlob, layers }));
  await destination.pushManifest({ mediaType, digest: digestOf(bytes), size: bytes.length }, bytes, "v1");
  return `${shop.host}/${repository}:v1`;
}

async function put(destination: Destination, bytes: Uint8Array, mediaType: string): Promise<Descriptor> {
  const blob = { mediaType, digest: digestOf(bytes), size: bytes.length };
  await destination.pushBlob(blob, async function* () {
    await Promise.resolve();
    yield bytes;
  });
  return blob;
}

async function randomFile(path: string, size: number): Promise<Digest> {
  const file = await open(path, "w");
  const chunk = Buffer.alloc(4 * MIB);
  for (let at = 0; at < size; at += chunk.length)
    await file.write(randomFillSync(chunk), 0, Math.min(chunk.length, size - at));
  await file.close();
  const hash = createHash("sha256");
  for await (const bytes of createReadStream(path, { highWaterMark: MIB }) as AsyncIterable<Buffer>) hash.update(bytes);
  return finish(hash);
}

/** The same numbers in every run. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const PLAIN = {
  type: "file",
  mode: 0o644,
  uid: 0,
  gid: 0,
  mtime: { seconds: 0, nanoseconds: 0 },
  linkname: "",
  devmajor: 0,
  devminor: 0,
  xattrs: new Map<string, Uint8Array>(),
} as const;
