import { createHash } from "node:crypto";
import { digestOf, finish, isDigest, MANIFEST_LIMIT, MEDIA, type Descriptor, type Digest } from "#oci";
import { invalid, readJson, type Catalog } from "./catalog.ts";
import { compressionOf, type Files } from "./files.ts";

interface Saved {
  readonly config: string;
  readonly tags: readonly string[];
  readonly layers: readonly string[];
}

/**
 * What `docker save` writes: `manifest.json` names a config and plain tars as layers. It has no manifest as registries have
 * them, so one is made: the same archive always gives the same digest.
 *
 * @throws Failure INVALID_LAYOUT naming the archive and what is wrong with it
 */
export async function readDockerArchive(files: Files, where: string): Promise<Catalog> {
  const contents = new Map<Digest, string | Uint8Array>();
  const images: Catalog["images"][number][] = [];
  for (const { config, tags, layers } of readSaved(await readJson(files, "manifest.json", where), where)) {
    const described = await describeConfig(files, config, where);
    contents.set(described.descriptor.digest, config);
    if (described.diffIds.length !== layers.length)
      throw invalid(where, `${config} speaks of ${described.diffIds.length} layers, manifest.json of ${layers.length}`);
    const descriptors: Descriptor[] = [];
    for (const [i, layer] of layers.entries()) {
      const descriptor = await describeLayer(files, layer, described.diffIds[i] ?? "", where);
      contents.set(descriptor.digest, layer);
      descriptors.push(descriptor);
    }
    const manifest = { schemaVersion: 2, mediaType: MEDIA.manifest, config: described.descriptor, layers: descriptors };
    const bytes = Buffer.from(JSON.stringify(manifest));
    const digest = digestOf(bytes);
    contents.set(digest, bytes);
    images.push({ descriptor: { mediaType: MEDIA.manifest, digest, size: bytes.length }, names: tags });
  }
  return { images, locate: (digest) => contents.get(digest) };
}

function readSaved(json: unknown, where: string): readonly Saved[] {
  if (!Array.isArray(json)) throw invalid(where, "its manifest.json is not a list");
  return json.map((item: unknown): Saved => {
    const { Config: config, RepoTags: tags, Layers: layers } = (item ?? {}) as Record<string, unknown>;
    if (typeof config !== "string" || !isStrings(layers) || !(tags == null || isStrings(tags)))
      throw invalid(where, "an image of its manifest.json has no Config or no Layers");
    return { config, tags: tags ?? [], layers };
  });
}

async function describeConfig(
  files: Files,
  name: string,
  where: string,
): Promise<{ readonly descriptor: Descriptor; readonly diffIds: readonly string[] }> {
  const json = (await readJson(files, name, where)) as { readonly rootfs?: { readonly diff_ids?: unknown } } | null;
  const diffIds = json?.rootfs?.diff_ids ?? [];
  if (!isStrings(diffIds)) throw invalid(where, `${name} has no rootfs.diff_ids`);
  const { digest, size } = await hash(files, name, where, MANIFEST_LIMIT);
  return { descriptor: { mediaType: MEDIA.imageConfig, digest, size }, diffIds };
}

/** A plain tar has its diffID as its digest, which whoever fetches it checks; a compressed one has to be read to get one. */
async function describeLayer(files: Files, name: string, diffId: string, where: string): Promise<Descriptor> {
  await using file = await files.open(name);
  if (file === undefined) throw invalid(where, `it has no ${name}`);
  const head: Uint8Array[] = [];
  for await (const piece of file.read({ start: 0, end: Math.min(4, file.size) })) head.push(piece);
  const compression = compressionOf(Buffer.concat(head));
  if (compression === undefined && isDigest(diffId)) return { mediaType: MEDIA.layer, digest: diffId, size: file.size };
  const { digest, size } = await hash(files, name, where, Number.POSITIVE_INFINITY);
  return { mediaType: compression === undefined ? MEDIA.layer : `${MEDIA.layer}+${compression}`, digest, size };
}

async function hash(
  files: Files,
  name: string,
  where: string,
  limit: number,
): Promise<{ readonly digest: Digest; readonly size: number }> {
  await using file = await files.open(name);
  if (file === undefined || file.size > limit) throw invalid(where, `it has no ${name} of a fitting size`);
  const running = createHash("sha256");
  for await (const piece of file.read({ start: 0, end: file.size })) running.update(piece);
  return { digest: finish(running), size: file.size };
}

function isStrings(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}
