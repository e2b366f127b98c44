import { Failure } from "#base";
import type { Descriptor, Manifest } from "#oci";
import { unsafePath } from "./file-path.ts";
import { formats } from "./formats/index.ts";
import type { ArtifactFormat, Part } from "./part.ts";

/**
 * Takes a manifest for the packaging it is and says what becomes of each blob. `config` is the verified config blob, or
 * nothing where the manifest's config is the empty one.
 *
 * Paths of files are safe and clean, and no two parts fight for one: a file named twice is one if it is the same blob.
 *
 * @throws Failure UNSAFE_PATH, INVALID_CONFIG, UNSUPPORTED_LAYER, UNSUPPORTED_ARTIFACT naming the digest.
 */
export function planParts(
  manifest: Manifest,
  config: Uint8Array,
): { readonly format: ArtifactFormat; readonly parts: readonly Part[] } {
  const format = formats.find((candidate) => candidate.claims(manifest));
  if (format === undefined)
    throw new Failure(
      "INTERNAL",
      "UNSUPPORTED_ARTIFACT",
      "no packaging claims the manifest; this is a bug, please report it",
    );
  return { format, parts: withoutCollisions(format.plan(manifest, config)) };
}

function withoutCollisions(parts: readonly Part[]): readonly Part[] {
  const files = new Map<string, Descriptor>();
  const kept = parts.filter((part) => {
    if (part.kind !== "file") return true;
    const other = files.get(part.path);
    if (other !== undefined && other.digest !== part.blob.digest)
      throw unsafePath(part.path, part.blob, `is also the path of blob ${other.digest}`);
    files.set(part.path, part.blob);
    return other === undefined;
  });
  for (const [path, blob] of files)
    for (let slash = path.indexOf("/"); slash >= 0; slash = path.indexOf("/", slash + 1)) {
      const file = files.get(path.slice(0, slash));
      if (file !== undefined) throw unsafePath(path, blob, `lies below the file of blob ${file.digest}`);
    }
  return kept;
}
