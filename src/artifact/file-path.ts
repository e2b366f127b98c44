import { Failure } from "#base";
import { hexOf, type Descriptor } from "#oci";

export const TITLE = "org.opencontainers.image.title";
/** Linux opens no longer path (PATH_MAX). */
const PATH_BYTES = 4095;
/** Where ModelPack, its forerunner CNAI, KitOps and Docker Model Runner say a file belongs; the newer one first. */
const MODEL_PATHS = ["org.cncf.model.filepath", "org.cnai.model.filepath"];

/**
 * The path that a descriptor asks for: `org.cncf.model.filepath`, `org.cnai.model.filepath`, title, `name` (Ollama's). Undefined
 * where it asks for none.
 *
 * @throws Failure UNSAFE_PATH naming the digest.
 */
export function namedPath(blob: Descriptor): string | undefined {
  const path = modelPath(blob) ?? blob.annotations?.[TITLE] ?? blob.name;
  // `oras push .` calls the root `.`, which is no name.
  return path === undefined ? undefined : safePath(path, blob) || undefined;
}

/** The path of the model annotations alone. @throws Failure UNSAFE_PATH */
export function modelPath(blob: Descriptor): string | undefined {
  for (const key of MODEL_PATHS) {
    const path = blob.annotations?.[key];
    if (path !== undefined && path !== "") return safePath(path, blob);
  }
  return undefined;
}

/** What a blob is called that nobody named: `sha256-<hex>`, since a colon in a file name is awkward in every shell. */
export function digestPath(blob: Descriptor): string {
  return `${blob.digest.slice(0, blob.digest.indexOf(":"))}-${hexOf(blob.digest)}`;
}

/**
 * A path without `.` and empty components. `..` is refused where it is a whole component; `a..b` is a name like any other.
 *
 * @throws Failure UNSAFE_PATH naming the digest.
 */
export function safePath(path: string, blob: Descriptor): string {
  if (Buffer.byteLength(path) > PATH_BYTES) throw unsafePath(path, blob, `is longer than ${PATH_BYTES} bytes`);
  const components = path.split("/").filter((component) => component !== "" && component !== ".");
  const why = path.startsWith("/")
    ? "is absolute"
    : components.includes("..")
      ? "leads out of the volume with .."
      : path.includes("\0")
        ? "contains a NUL byte"
        : components.some((component) => Buffer.byteLength(component) > 255)
          ? "has a part longer than 255 bytes"
          : undefined;
  if (why !== undefined) throw unsafePath(path, blob, why);
  return components.join("/");
}

export function unsafePath(path: string, blob: Descriptor, why: string): Failure {
  const shown = JSON.stringify(path.length > 200 ? `${path.slice(0, 200)}…` : path);
  return new Failure(
    "INVALID_ARGUMENT",
    "UNSAFE_PATH",
    `the path ${shown} of blob ${blob.digest} is refused: it ${why}; the artifact must be packed again`,
  );
}
