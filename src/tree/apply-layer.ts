import type { Digest } from "#oci";
import type { TarEntry } from "#tar";
import {
  createDirectory,
  hide,
  hideBelow,
  IMPLIED,
  isDirectory,
  isFresh,
  put,
  setAttributes,
  touch,
  type MutableDirectory,
  type TreeBuilder,
} from "./builder.ts";
import { checked, nodeOf } from "./node.ts";
import { componentsOf, isPlain } from "./path.ts";
import { invalid, quoted, unsafe } from "./refuse.ts";
import { resolveWithin } from "./resolve.ts";

const WHITEOUT = ".wh.";
const OPAQUE = ".wh..wh..opq";
/** What AUFS kept for itself; Docker wrote it into layers once, and every unpacker skips it. */
const AUFS = ".wh..wh.";
const NO_DIRECTORY = "it lies below something that is no directory";

/**
 * Applies one image layer on top of what is there, as image-spec's layer.md says: whiteouts hide what lower layers brought,
 * wherever in the layer they stand; a directory named again keeps its children and takes the new attributes; anything else
 * replaces what had its name; parents that nothing names are 0755 and root's. Symlinks in the parents of a name are followed
 * inside the tree, where `/` is its root, as containerd and umoci do. Leading `/` and `./` mean nothing.
 *
 * Files point into `blob`, the plain tar. After a Failure the tree is half applied and of no use.
 *
 * @throws Failure UNSAFE_PATH, INVALID_LAYER naming the entry and the blob; TREE_LIMIT.
 */
export function applyLayer(tree: TreeBuilder, entries: Iterable<TarEntry>, blob: Digest): void {
  tree.layer++;
  tree.displaced.clear();
  /** By what was written before the last slash, for as long as nothing has changed its meaning. */
  const parents = new Map<string, MutableDirectory>();
  for (const entry of entries) {
    const { path } = entry;
    // Most members follow a sibling, and need no second look at what leads to them.
    const slash = path.lastIndexOf("/");
    const above = path.slice(0, Math.max(slash, 0));
    let parent = parents.get(above);
    let name: string | undefined = path.slice(slash + 1);
    if (parent === undefined || !isPlain(name) || name.startsWith(WHITEOUT)) {
      const components = componentsOf(path, blob);
      name = components.pop();
      if (name === undefined) {
        if (entry.type !== "directory") throw unsafe(path, "only a directory can be the root", blob);
        setAttributes(tree.root, checked(entry, blob), tree.layer);
        continue;
      }
      if (name.startsWith(WHITEOUT)) {
        applyMarker(tree, components, name, path, blob);
        parents.clear();
        continue;
      }
      if (components.some((component) => component.startsWith(AUFS))) continue;
      parent = parentOf(tree, components, path, blob);
      if (path.endsWith(name)) parents.set(above, parent);
    }
    if (place(tree, parent, name, entry, blob)) parents.clear();
  }
  for (const path of tree.displaced.values()) throw unsafe(path, NO_DIRECTORY, blob);
}

/** A whiteout says what is not there, so it makes nothing: where its directory is missing, there is nothing to hide. */
function applyMarker(
  tree: TreeBuilder,
  components: readonly string[],
  marker: string,
  path: string,
  blob: Digest,
): void {
  const isOpaque = marker === OPAQUE;
  if (marker.startsWith(AUFS) && !isOpaque) return;
  const hidden = marker.slice(WHITEOUT.length);
  if (hidden === "" || hidden === "." || hidden === "..") throw invalid(path, "it hides no name", blob);
  const parent = resolveWithin(tree.root, components, { followLast: true, as: "root", steps: tree.steps })?.node;
  if (!isDirectory(parent)) return;
  if (isOpaque) hideBelow(tree, parent);
  else hide(tree, parent, hidden);
}

/** Puts the entry at its name. True when names seen before may now lead elsewhere. */
function place(tree: TreeBuilder, parent: MutableDirectory, name: string, entry: TarEntry, blob: Digest): boolean {
  const existing = parent.entries.get(name);
  if (entry.type === "directory") {
    if (isDirectory(existing)) {
      setAttributes(existing, checked(entry, blob), tree.layer);
      tree.displaced.delete(existing);
      touch(tree, parent, name);
      return false;
    }
    put(tree, parent, name, createDirectory(checked(entry, blob), tree.layer, tree.layer));
    return existing !== undefined;
  }
  if (entry.type === "hardlink") {
    const target = resolveWithin(tree.root, componentsOf(entry.linkname, blob), {
      followLast: false,
      as: "root",
      steps: tree.steps,
    })?.node;
    if (target === undefined)
      throw invalid(entry.path, `it is a hard link to ${quoted(entry.linkname)}, which is not there`, blob);
    if (isDirectory(target))
      throw invalid(entry.path, `it is a hard link to a directory, ${quoted(entry.linkname)}`, blob);
    if (target !== existing) put(tree, parent, name, target);
    else touch(tree, parent, name);
  } else put(tree, parent, name, nodeOf(entry, blob));
  return existing !== undefined;
}

/** The directory a name lies in, made where it is missing. */
function parentOf(tree: TreeBuilder, components: readonly string[], path: string, blob: Digest): MutableDirectory {
  for (const component of components)
    if (component.startsWith(WHITEOUT)) throw invalid(path, "it lies in a directory named like a whiteout", blob);
  const found = resolveWithin(tree.root, components, {
    followLast: true,
    as: "root",
    steps: tree.steps,
    missing(directory, name, instead) {
      const parent = directory as MutableDirectory;
      if (instead !== undefined && isFresh(tree, parent, name)) return undefined;
      const made = createDirectory(IMPLIED, tree.layer, 0);
      put(tree, parent, name, made);
      if (instead !== undefined) tree.displaced.set(made, path);
      return made;
    },
  });
  if (found !== undefined && isDirectory(found.node)) return found.node;
  throw unsafe(path, NO_DIRECTORY, blob);
}
