import type { Digest } from "#oci";
import type { TarEntry } from "#tar";
import {
  createDirectory,
  hide,
  hideBelow,
  IMPLIED,
  isDirectory,
  put,
  setAttributes,
  touch,
  type MutableDirectory,
  type TreeBuilder,
} from "./builder.ts";
import { checked, nodeOf } from "./node.ts";
import { componentsOf, isPlain } from "./path.ts";
import { invalid, unsafe } from "./refuse.ts";
import { resolveWithin } from "./resolve.ts";

const WHITEOUT = ".wh.";
const OPAQUE = ".wh..wh..opq";
/** What AUFS kept for itself; Docker wrote it into layers once, and every unpacker skips it. */
const AUFS = ".wh..wh.";

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
  /** By what was written before the last slash, for as long as nothing has changed its meaning. */
  const parents = new Map<string, MutableDirectory>();
  for (const entry of entries) {
    const { path } = entry;
    // Most members follow a sibling, and need no second look at what leads to them.
    const slash = path.lastIndexOf("/");
    const above = path.slice(0, Math.max(slash, 0));
    let parent = parents.get(above);
    let name: string | undefined = path.slice(slash + 1);
    if (parent === undefined || !isPlain(name)) {
      const components = componentsOf(path, blob);
      name = components.pop();
      if (name === undefined) {
        if (entry.type !== "directory") throw unsafe(path, "only a directory can be the root", blob);
        setAttributes(tree.root, checked(entry, blob), tree.layer);
        continue;
      }
      if (components.some((component) => component.startsWith(AUFS))) continue;
      parent = parentOf(tree, components, path, blob);
      if (path.endsWith(name)) parents.set(above, parent);
    }
    if (name.startsWith(AUFS) && name !== OPAQUE) continue;
    if (name === OPAQUE) {
      hideBelow(tree, parent);
      parents.clear();
    } else if (name.startsWith(WHITEOUT)) {
      const hidden = name.slice(WHITEOUT.length);
      if (hidden === "" || hidden === "." || hidden === "..") throw invalid(entry.path, "it hides no name", blob);
      hide(tree, parent, hidden);
      parents.clear();
    } else if (place(tree, parent, name, entry, blob)) parents.clear();
  }
}

/** Puts the entry at its name. True when names seen before may now lead elsewhere. */
function place(tree: TreeBuilder, parent: MutableDirectory, name: string, entry: TarEntry, blob: Digest): boolean {
  const existing = parent.entries.get(name);
  if (entry.type === "directory") {
    if (isDirectory(existing)) {
      setAttributes(existing, checked(entry, blob), tree.layer);
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
    })?.node;
    if (target === undefined)
      throw invalid(entry.path, `it is a hard link to ${entry.linkname}, which is not there`, blob);
    if (isDirectory(target)) throw invalid(entry.path, `it is a hard link to a directory, ${entry.linkname}`, blob);
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
    missing(parent, name) {
      const made = createDirectory(IMPLIED, tree.layer, 0);
      put(tree, parent as MutableDirectory, name, made);
      return made;
    },
  });
  if (found !== undefined && isDirectory(found.node)) return found.node;
  throw unsafe(path, "it lies below something that is no directory", blob);
}
