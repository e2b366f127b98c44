import type { Digest } from "#oci";
import type { TarEntry } from "#tar";
import {
  createDirectory,
  EPOCH,
  IMPLIED,
  isDirectory,
  NO_XATTRS,
  put,
  setAttributes,
  type MutableDirectory,
  type TreeBuilder,
} from "./builder.ts";
import type { Node } from "./file-tree.ts";
import { checked, nodeOf } from "./node.ts";
import { componentsOf } from "./path.ts";
import { invalid, quoted, unsafe } from "./refuse.ts";

export interface ArchivePlace {
  /** A leading path that names lose where they have it. */
  readonly strip?: string | undefined;
  /** A path that all names get. */
  readonly under?: string | undefined;
}

/** A blob that is a file. What nobody names is 0644, root's, and of the epoch. */
export interface WholeFile {
  readonly blob: Digest;
  /** Bytes. */
  readonly size: number;
  readonly mode?: number | undefined;
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  /** Seconds since the epoch. */
  readonly mtime?: number | undefined;
}

/**
 * Unpacks a tar that is no image layer, as `tar -x` would, except that nothing is guessed for the sake of safety: absolute
 * names, `..`, names that lead through a symlink, and files where directories are (or the reverse) are refused. `.wh.` means
 * nothing here. A file that comes twice is the later one.
 *
 * @throws Failure UNSAFE_PATH, INVALID_LAYER naming the entry and the blob; TREE_LIMIT.
 */
export function applyArchive(
  tree: TreeBuilder,
  entries: Iterable<TarEntry>,
  blob: Digest,
  place: ArchivePlace = {},
): void {
  tree.layer++;
  const strip = componentsOf(place.strip ?? "", blob);
  const under = componentsOf(place.under ?? "", blob);
  const base = directoryAt(tree, tree.root, under, place.under ?? "", blob);
  const within = (path: string): string[] => {
    if (path.startsWith("/")) throw unsafe(path, "it is absolute", blob);
    const components = componentsOf(path, blob);
    const has = strip.length > 0 && strip.every((component, i) => components[i] === component);
    return has ? components.slice(strip.length) : components;
  };

  for (const entry of entries) {
    const components = within(entry.path);
    if (entry.type === "directory") {
      setAttributes(directoryAt(tree, base, components, entry.path, blob), checked(entry, blob), tree.layer);
      continue;
    }
    const name = components.pop();
    if (name === undefined) throw unsafe(entry.path, "only a directory can be the root", blob);
    const parent = directoryAt(tree, base, components, entry.path, blob);
    const existing = parent.entries.get(name);
    if (isDirectory(existing)) throw unsafe(entry.path, "a directory has that name already", blob);
    if (entry.type !== "hardlink") {
      put(tree, parent, name, nodeOf(entry, blob));
      continue;
    }
    const target = find(base, within(entry.linkname));
    if (target === undefined || isDirectory(target))
      throw invalid(
        entry.path,
        `it is a hard link to ${quoted(entry.linkname)}, which is no file of the archive`,
        blob,
      );
    put(tree, parent, name, target);
  }
}

/**
 * Puts a whole blob at a path.
 *
 * @throws Failure UNSAFE_PATH where the path is absolute, leads out of the tree or through something that is no directory, or
 * is taken by anything but the very same blob.
 */
export function addFile(tree: TreeBuilder, path: string, file: WholeFile): void {
  const { blob, size } = file;
  if (path.startsWith("/")) throw unsafe(path, "it is absolute", blob);
  const components = componentsOf(path, blob);
  const name = components.pop();
  if (name === undefined || path.endsWith("/")) throw unsafe(path, "it is no file name", blob);
  tree.layer++;
  const parent = directoryAt(tree, tree.root, components, path, blob);
  const existing = parent.entries.get(name);
  if (existing?.kind === "file" && existing.size === size && existing.extents.every((extent) => extent.blob === blob))
    return;
  if (existing !== undefined) throw unsafe(path, `a ${existing.kind} has that name already`, blob);
  put(tree, parent, name, {
    kind: "file",
    mode: (file.mode ?? 0o644) & 0o7777,
    uid: file.uid ?? 0,
    gid: file.gid ?? 0,
    mtime: file.mtime === undefined ? EPOCH : timeOf(file.mtime),
    xattrs: NO_XATTRS,
    size,
    extents: size === 0 ? [] : [{ at: 0, blob, offset: 0, length: size }],
  });
}

function timeOf(seconds: number): { seconds: number; nanoseconds: number } {
  const whole = Math.floor(seconds);
  return { seconds: whole, nanoseconds: Math.floor((seconds - whole) * 1e9) };
}

/** Walks down without following symlinks, and makes what is missing. */
function directoryAt(
  tree: TreeBuilder,
  from: MutableDirectory,
  components: readonly string[],
  path: string,
  blob: Digest,
): MutableDirectory {
  let directory = from;
  for (const component of components) {
    const node = directory.entries.get(component);
    if (node === undefined) {
      const made = createDirectory(IMPLIED, tree.layer, 0);
      put(tree, directory, component, made);
      directory = made;
    } else if (isDirectory(node)) directory = node;
    else if (node.kind === "symlink") throw unsafe(path, "it leads through a symlink", blob);
    else throw unsafe(path, `a ${node.kind} has the name of one of its directories`, blob);
  }
  return directory;
}

function find(from: MutableDirectory, components: readonly string[]): Node | undefined {
  let node: Node | undefined = from;
  for (const component of components) node = isDirectory(node) ? node.entries.get(component) : undefined;
  return node;
}
