import { bytesOf } from "#base";
import type { Directory, FileTree, Node } from "./file-tree.ts";

/** Every name with its node, parents before children, names of one directory in the order of their bytes. The root is "". */
export function* walk(tree: FileTree): Generator<readonly [path: string, node: Node], void, void> {
  const pending: [string, Node][] = [["", tree.root]];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    yield next;
    const [path, node] = next;
    if (node.kind !== "directory") continue;
    const prefix = path === "" ? "" : `${path}/`;
    for (const name of sortedNames(node).reverse()) {
      const child = node.entries.get(name);
      if (child !== undefined) pending.push([prefix + name, child]);
    }
  }
}

/** The names of a directory in the order of their bytes, which is not that of UTF-16. */
function sortedNames(directory: Directory): string[] {
  const names = [...directory.entries.keys()].sort();
  return names.every(isBelowSurrogates) ? names : names.sort((a, b) => Buffer.compare(bytesOf(a), bytesOf(b)));
}

function isBelowSurrogates(name: string): boolean {
  for (let i = 0; i < name.length; i++) if (name.charCodeAt(i) >= 0xd800) return false;
  return true;
}
