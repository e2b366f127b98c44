import { hexOf, algorithmOf, MEDIA, parseManifest } from "#oci";
import { invalid, readJson, type Catalog } from "./catalog.ts";
import type { Files } from "./files.ts";

/** Annotations that carry an image's name: the specification's, containerd's. */
const NAMES = ["org.opencontainers.image.ref.name", "io.containerd.image.name"];

/** image-spec, image-layout.md. @throws Failure INVALID_LAYOUT, INVALID_MANIFEST */
export async function readOciLayout(files: Files, where: string): Promise<Catalog> {
  if (!(await files.exist())) throw invalid(where, "there is no such directory");
  const marker = (await readJson(files, "oci-layout", where)) as { readonly imageLayoutVersion?: unknown } | null;
  const version = marker?.imageLayoutVersion;
  if (typeof version !== "string" || !version.startsWith("1."))
    throw invalid(where, "its oci-layout is not of version 1");
  const json = Buffer.from(JSON.stringify(await readJson(files, "index.json", where)));
  const index = parseManifest(json, MEDIA.index);
  if (index.kind !== "index") throw invalid(where, "its index.json is no image index");
  return {
    images: index.manifests.map((descriptor) => ({
      descriptor,
      names: NAMES.flatMap((name) => descriptor.annotations?.[name] ?? []),
    })),
    locate: (digest) => `blobs/${algorithmOf(digest)}/${hexOf(digest)}`,
  };
}
