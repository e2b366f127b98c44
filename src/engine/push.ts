import { createReadStream } from "node:fs";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { Failure, type CallOptions } from "#base";
import { MEDIA, digestOf, parseReference, type Descriptor, type Destination, type Digest, type Platform } from "#oci";
import type { Registry } from "#registry";
import type { Store } from "#store";
import type { PushRequest } from "./engine.ts";
import { digestOfFile, itemOf, packTar, type Item, type PackCompression } from "./pack.ts";

const EMPTY = Buffer.from("{}");
const UNKNOWN_ARTIFACT = "application/vnd.unknown.artifact.v1";
const CHUNK = 1024 * 1024;

/** A blob that waits to be pushed. */
interface Upload {
  readonly descriptor: Descriptor;
  readonly bytes: () => AsyncIterable<Uint8Array>;
}

export interface PushOptions {
  readonly store: Store;
  readonly registry: Registry;
  readonly platform: Platform;
}

/**
 * Packs files and directories and pushes them. As an artifact they look as ORAS makes them: a file is its own blob, a directory a
 * tar, and the title says where it goes. As an image they are one layer.
 *
 * The same files give the same manifest digest.
 */
export async function push(
  { store, registry, platform }: PushOptions,
  request: PushRequest,
  call?: CallOptions,
): Promise<{ readonly digest: Digest; readonly size: number }> {
  const reference = parseReference(request.reference);
  if (request.paths.length === 0)
    throw new Failure("INVALID_ARGUMENT", "NOTHING_TO_PUSH", "name at least one file or directory to push");
  if (reference.digest !== undefined)
    throw new Failure("INVALID_ARGUMENT", "INVALID_REFERENCE", "push to a tag; the digest is what comes of it");
  const items = await Promise.all(request.paths.map(itemOf));
  checkNames(items);
  const destination = registry.destination(reference, request.credentials);

  // What is packed lies in a locked directory, which the next sweep removes if we are killed.
  await using place = await store.workplace(`push-${randomUUID()}`, call?.signal);
  place.discard();
  const made =
    request.image === undefined
      ? await artifact(request, items, place.path, call)
      : await image({ ...request, image: request.image }, items, platform, place.path, call);

  for (const upload of made.uploads) await pushBlob(destination, upload, call);
  const bytes = Buffer.from(JSON.stringify(made.manifest));
  const descriptor = { mediaType: MEDIA.manifest, digest: digestOf(bytes), size: bytes.length };
  await destination.pushManifest(descriptor, bytes, reference.tag, call);
  const blobs = made.uploads.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
  return { digest: descriptor.digest, size: bytes.length + blobs };
}

interface Made {
  readonly manifest: object;
  readonly uploads: readonly Upload[];
}

async function artifact(
  request: PushRequest,
  items: readonly Item[],
  directory: string,
  call: CallOptions | undefined,
): Promise<Made> {
  const layers: Upload[] = [];
  for (const [i, item] of items.entries())
    layers.push(
      item.isDirectory
        ? await directoryLayer(item, join(directory, String(i)), request.compression ?? "gzip", call)
        : await fileLayer(item, call),
    );
  const config = { mediaType: MEDIA.empty, digest: digestOf(EMPTY), size: EMPTY.length };
  const manifest = {
    schemaVersion: 2,
    mediaType: MEDIA.manifest,
    artifactType: request.artifactType ?? UNKNOWN_ARTIFACT,
    config: { ...config, data: EMPTY.toString("base64") },
    layers: layers.map(({ descriptor }) => descriptor),
    ...annotationsOf(request),
  };
  return { manifest, uploads: [{ descriptor: config, bytes: () => once(EMPTY) }, ...layers] };
}

async function fileLayer({ path, name }: Item, call: CallOptions | undefined): Promise<Upload> {
  const { digest, size } = await digestOfFile(path, call?.signal);
  return {
    descriptor: { mediaType: MEDIA.layer, digest, size, annotations: { "org.opencontainers.image.title": name } },
    bytes: () => createReadStream(path, { highWaterMark: CHUNK }),
  };
}

async function directoryLayer(
  item: Item,
  to: string,
  compression: PackCompression,
  call: CallOptions | undefined,
): Promise<Upload> {
  const packed = await packTar([item], to, compression, call?.signal);
  return {
    descriptor: {
      mediaType: layerType(compression),
      digest: packed.digest,
      size: packed.size,
      annotations: {
        "io.deis.oras.content.digest": packed.diffId,
        "io.deis.oras.content.unpack": "true",
        "org.opencontainers.image.title": item.name,
      },
    },
    bytes: () => createReadStream(to, { highWaterMark: CHUNK }),
  };
}

async function image(
  request: PushRequest & { readonly image: NonNullable<PushRequest["image"]> },
  items: readonly Item[],
  platform: Platform,
  directory: string,
  call: CallOptions | undefined,
): Promise<Made> {
  const compression = request.compression ?? "gzip";
  const to = join(directory, "layer");
  const packed = await packTar(rooted(items), to, compression, call?.signal);
  const { entrypoint, cmd, env, user, workingDir } = request.image;
  const config = Buffer.from(
    JSON.stringify({
      architecture: platform.architecture,
      os: platform.os,
      ...(platform.variant === undefined ? {} : { variant: platform.variant }),
      config: {
        ...(user === undefined ? {} : { User: user }),
        ...(env === undefined ? {} : { Env: env }),
        ...(entrypoint === undefined ? {} : { Entrypoint: entrypoint }),
        ...(cmd === undefined ? {} : { Cmd: cmd }),
        ...(workingDir === undefined ? {} : { WorkingDir: workingDir }),
      },
      rootfs: { type: "layers", diff_ids: [packed.diffId] },
    }),
  );
  const configDescriptor = { mediaType: MEDIA.imageConfig, digest: digestOf(config), size: config.length };
  const layer = { mediaType: layerType(compression), digest: packed.digest, size: packed.size };
  return {
    manifest: {
      schemaVersion: 2,
      mediaType: MEDIA.manifest,
      config: configDescriptor,
      layers: [layer],
      ...annotationsOf(request),
    },
    uploads: [
      { descriptor: configDescriptor, bytes: () => once(config) },
      { descriptor: layer, bytes: () => createReadStream(to, { highWaterMark: CHUNK }) },
    ],
  };
}

async function pushBlob(destination: Destination, upload: Upload, call: CallOptions | undefined): Promise<void> {
  const { descriptor, bytes } = upload;
  const report = call?.onProgress;
  const counted = async function* (): AsyncGenerator<Uint8Array> {
    let received = 0;
    for await (const chunk of bytes()) {
      yield chunk;
      received += chunk.length;
      report?.({ digest: descriptor.digest, received, total: descriptor.size });
    }
  };
  const { annotations: _, ...plain } = descriptor;
  await destination.pushBlob(plain, counted, call);
}

function checkNames(items: readonly Item[]): void {
  const names = items.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined)
    throw new Failure(
      "INVALID_ARGUMENT",
      "SAME_NAME",
      `two paths would both be ${JSON.stringify(twice)} in the object`,
    );
}

function layerType(compression: PackCompression): string {
  return compression === "none" ? MEDIA.layer : `${MEDIA.layer}+${compression}`;
}

function annotationsOf({ annotations }: PushRequest): object {
  return annotations === undefined ? {} : { annotations };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  await Promise.resolve();
  yield bytes;
}

/** A directory's content goes to the image's root, as with `COPY directory /`. */
function rooted(items: readonly Item[]): readonly Item[] {
  return items.map((item) => (item.isDirectory ? { ...item, name: "" } : item));
}
