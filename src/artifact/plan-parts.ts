import { Failure } from "#base";
import type { Manifest } from "#oci";
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

type FilePart = Extract<Part, { kind: "file" }>;

/** A directory that files lie in, and the first of them. */
interface Directory {
  readonly first: FilePart;
  readonly entries: Map<string, Directory | FilePart>;
}

function withoutCollisions(parts: readonly Part[]): readonly Part[] {
  const root = new Map<string, Directory | FilePart>();
  return parts.filter((part) => part.kind !== "file" || isNew(root, part));
}

/** Adds a file to the names so far. False where the same blob has the same path already. */
function isNew(root: Map<string, Directory | FilePart>, part: FilePart): boolean {
  const components = part.path.split("/");
  const name = components.pop() ?? "";
  let entries = root;
  for (const component of components) {
    const entry = entries.get(component) ?? { first: part, entries: new Map<string, Directory | FilePart>() };
    if (!("entries" in entry)) throw below(part, entry);
    entries.set(component, entry);
    entries = entry.entries;
  }
  const existing = entries.get(name);
  if (existing === undefined) entries.set(name, part);
  else if ("entries" in existing) throw below(existing.first, part);
  else if (existing.blob.digest !== part.blob.digest)
    throw unsafePath(part.path, part.blob, `is also the path of blob ${existing.blob.digest}`);
  return existing === undefined;
}

function below(part: FilePart, file: FilePart): Failure {
  return unsafePath(part.path, part.blob, `lies below the file of blob ${file.blob.digest}`);
}
