import type { Time } from "#tar";
import type { Attributes, Directory, FileTree, Node } from "./file-tree.ts";
import { limited } from "./refuse.ts";
import type { Steps } from "./resolve.ts";

/** What a tree may grow to. What lies beyond ends in Failure TREE_LIMIT. */
export interface TreeLimits {
  /** Names in all directories together. */
  readonly names: number;
  /** Components of names that are looked up one by one. What image there is needs a hundredth of the default. */
  readonly steps: number;
}

const TREE_LIMITS: TreeLimits = { names: 1_000_000, steps: 100_000_000 };

/**
 * A tree that is being merged. Made by `createTree`, changed by `applyLayer`, `applyArchive` and `addFile`, and given out by
 * `finish`, after which it must not be changed.
 */
export interface TreeBuilder {
  readonly root: MutableDirectory;
  readonly limits: TreeLimits;
  /** Counts what was applied so far: names remember by it whether they belong to this layer or to a lower one. */
  layer: number;
  names: number;
  /**
   * Directories that the current layer needs where a lower one has something else, with a name that needs each: fine if the layer
   * hides or names what is there, which it may do after the fact.
   */
  readonly displaced: Map<Node, string>;
  readonly steps: Steps;
}

/**
 * A directory under construction. Which of its names are of the current layer is known without a mark on each name: all
 * of them when the directory itself is (`pureIn`), else those in `fresh`, which is emptied when a new layer comes.
 */
export interface MutableDirectory extends Directory {
  mode: number;
  uid: number;
  gid: number;
  mtime: Time;
  xattrs: ReadonlyMap<string, Uint8Array>;
  readonly entries: Map<string, Node>;
  /** The layer since which nothing in here, at any depth, is older than it. */
  pureIn: number;
  /** The layer whose names `fresh` has. */
  freshIn: number;
  fresh: Set<string> | undefined;
  /** The layer that set the attributes; 0 for a directory that no layer names. */
  attributesIn: number;
}

export const EPOCH: Time = { seconds: 0, nanoseconds: 0 };
export const NO_XATTRS: ReadonlyMap<string, Uint8Array> = new Map();

/** What directories get that nothing names: image-spec leaves it open, and this is what unpackers do. */
export const IMPLIED: Attributes = { mode: 0o755, uid: 0, gid: 0, mtime: EPOCH, xattrs: NO_XATTRS };

export function createTree(limits: Partial<TreeLimits> = {}): TreeBuilder {
  const most = { ...TREE_LIMITS, ...limits };
  return {
    root: createDirectory(IMPLIED, 0, 0),
    limits: most,
    layer: 0,
    names: 0,
    displaced: new Map(),
    steps: { left: most.steps },
  };
}

/** The merged tree: the builder's own nodes, so the builder must rest from now on. */
export function finish(tree: TreeBuilder): FileTree {
  return { root: tree.root };
}

export function createDirectory(attributes: Attributes, layer: number, attributesIn: number): MutableDirectory {
  const { mode, uid, gid, mtime, xattrs } = attributes;
  return {
    kind: "directory",
    mode,
    uid,
    gid,
    mtime,
    xattrs,
    entries: new Map(),
    pureIn: layer,
    freshIn: layer,
    fresh: undefined,
    attributesIn,
  };
}

export function setAttributes(directory: MutableDirectory, attributes: Attributes, layer: number): void {
  directory.mode = attributes.mode;
  directory.uid = attributes.uid;
  directory.gid = attributes.gid;
  directory.mtime = attributes.mtime;
  directory.xattrs = attributes.xattrs;
  directory.attributesIn = layer;
}

/** Every directory in a builder's tree is one that the builder made. */
export function isDirectory(node: Node | undefined): node is MutableDirectory {
  return node?.kind === "directory";
}

/** Puts a name in place of whatever had it, as one of the current layer. */
export function put(tree: TreeBuilder, parent: MutableDirectory, name: string, node: Node): void {
  const existing = parent.entries.get(name);
  if (existing === undefined && ++tree.names > tree.limits.names) throw limited(tree.limits.names);
  if (isDirectory(existing)) forgetDisplaced(tree, existing);
  parent.entries.set(name, node);
  touch(tree, parent, name);
}

function forgetDisplaced(tree: TreeBuilder, gone: MutableDirectory): void {
  const pending = tree.displaced.size === 0 ? [] : [gone];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    tree.displaced.delete(next);
    for (const node of next.entries.values()) if (isDirectory(node)) pending.push(node);
  }
}

/** Marks a name as one of the current layer, whether or not it was there before. */
export function touch(tree: TreeBuilder, parent: MutableDirectory, name: string): void {
  if (parent.pureIn === tree.layer) return;
  if (parent.freshIn !== tree.layer) [parent.freshIn, parent.fresh] = [tree.layer, undefined];
  (parent.fresh ??= new Set()).add(name);
}

/** Whether the current layer put the name there, or named it again. */
export function isFresh(tree: TreeBuilder, parent: MutableDirectory, name: string): boolean {
  return parent.pureIn === tree.layer || (parent.freshIn === tree.layer && parent.fresh?.has(name) === true);
}

/** A whiteout: the name goes, except for what the current layer itself put under it. */
export function hide(tree: TreeBuilder, parent: MutableDirectory, name: string): void {
  const node = parent.entries.get(name);
  if (node === undefined) return;
  const own = isFresh(tree, parent, name);
  if (!isDirectory(node)) {
    if (!own) parent.entries.delete(name);
    return;
  }
  tree.displaced.delete(node);
  hideBelow(tree, node);
  if (own) return;
  if (node.entries.size === 0) parent.entries.delete(name);
  // The directory is there only because the layer put something into it: it owes its attributes to nobody.
  else if (node.attributesIn !== tree.layer) setAttributes(node, IMPLIED, 0);
}

/** An opaque whiteout: everything below a directory goes that is not of the current layer. Visits each old name once. */
export function hideBelow(tree: TreeBuilder, directory: MutableDirectory): void {
  const pending = [directory];
  const visited: { readonly parent: MutableDirectory; readonly name: string; readonly node: MutableDirectory }[] = [];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (next.pureIn === tree.layer) continue;
    for (const [name, node] of next.entries) {
      if (isDirectory(node)) {
        visited.push({ parent: next, name, node });
        pending.push(node);
      } else if (!isFresh(tree, next, name)) next.entries.delete(name);
    }
  }
  // Parents come before their children in `visited`: backwards, every directory is judged after what it contains.
  for (const { parent, name, node } of visited.reverse()) {
    if (isFresh(tree, parent, name)) continue;
    if (node.entries.size === 0) parent.entries.delete(name);
    else if (node.attributesIn !== tree.layer) setAttributes(node, IMPLIED, 0);
  }
  for (const { node } of visited) {
    node.pureIn = tree.layer;
    tree.displaced.delete(node);
  }
  directory.pureIn = tree.layer;
}
