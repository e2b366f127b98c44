import { Failure } from "#base";
import type { FileTree } from "./file-tree.ts";
import { quoted } from "./refuse.ts";
import { Escape, resolveWithin, type Resolved } from "./resolve.ts";

/**
 * What a subPath names, with symlinks followed inside the tree, and where that really lies. The empty path is the root.
 *
 * @throws Failure SUBPATH_NOT_FOUND where nothing is there; UNSAFE_PATH for an absolute path, for `..`, and for a symlink
 * that is absolute or leads out of the tree: it would mean something else on the host than in the image.
 */
export function lookup(tree: FileTree, path: string): Resolved {
  const components = path.split("/");
  if (path.startsWith("/")) throw escaping(path, "it must be relative");
  if (components.includes("..")) throw escaping(path, "it must not contain ..");
  let found: Resolved | undefined;
  try {
    found = resolveWithin(tree.root, components, { followLast: true, as: "escape" });
  } catch (error) {
    throw error instanceof Escape ? escaping(path, error.message) : error;
  }
  if (found !== undefined) return found;
  throw new Failure("NOT_FOUND", "SUBPATH_NOT_FOUND", `subPath ${quoted(path)} does not exist in the volume`);
}

function escaping(path: string, why: string): Failure {
  return new Failure("INVALID_ARGUMENT", "UNSAFE_PATH", `subPath ${quoted(path)} is refused: ${why}`);
}
