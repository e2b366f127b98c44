import type { Directory, Node } from "./file-tree.ts";
import { exhausted } from "./refuse.ts";

/** As many symlinks as Linux follows for one name (path_resolution(7)). */
const MOST_LINKS = 40;

/** How many components a merge may still look at: long chains of symlinks, named often, would take hours. */
export interface Steps {
  left: number;
}

export interface Resolving {
  /** Whether a symlink at the end of the name is followed. Those before it always are. */
  readonly followLast: boolean;
  /** What `..` above the root and absolute targets mean: the tree's own root, as in a chroot; or an escape, which throws. */
  readonly as: "root" | "escape";
  /**
   * Makes a directory that is missing on the way, or at the end, or that something else (`instead`) has the name of; without it, and
   * where it makes none, the name leads nowhere.
   */
  /** Counts the components that are looked at, symlinks' targets included, for all who share it. */
  readonly steps?: Steps;
  readonly missing?: (parent: Directory, name: string, instead: Node | undefined) => Directory | undefined;
}

export interface Resolved {
  readonly node: Node;
  /** From the root, without symlinks. */
  readonly path: readonly string[];
}

/** Thrown to those who resolve with `as: "escape"`. */
export class Escape extends Error {}

/** Follows a name through the tree, never leaving it. Undefined where it leads nowhere, or round in circles. */
export function resolveWithin(root: Directory, components: readonly string[], how: Resolving): Resolved | undefined {
  const rest = components.toReversed();
  const trail: { readonly name: string; readonly directory: Directory }[] = [];
  let directory = root;
  let links = 0;
  for (let name = rest.pop(); name !== undefined; name = rest.pop()) {
    if (how.steps !== undefined && how.steps.left-- <= 0) throw exhausted();
    if (name === "" || name === ".") continue;
    if (name === "..") {
      if (trail.pop() === undefined && how.as === "escape") throw new Escape("it leads out of the tree with ..");
      directory = trail.at(-1)?.directory ?? root;
      continue;
    }
    const isLast = rest.length === 0;
    let node = directory.entries.get(name);
    if (how.missing !== undefined && node?.kind !== "directory" && node?.kind !== "symlink")
      node = how.missing(directory, name, node);
    if (node === undefined) return undefined;
    if (node.kind === "symlink" && (!isLast || how.followLast)) {
      if (++links > MOST_LINKS) return undefined;
      if (node.target.startsWith("/")) {
        if (how.as === "escape") throw new Escape("it leads through an absolute symlink");
        trail.length = 0;
        directory = root;
      }
      rest.push(...node.target.split("/").reverse());
    } else if (node.kind === "directory") {
      trail.push({ name, directory: node });
      directory = node;
    } else return isLast ? { node, path: [...trail.map((step) => step.name), name] } : undefined;
  }
  return { node: directory, path: trail.map((step) => step.name) };
}
