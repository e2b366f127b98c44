import { bytesOf } from "#base";
import type { FileTree, Node } from "./file-tree.ts";
import { walk } from "./walk.ts";

/**
 * A tree as text, a line for each name, the same for the same tree on every machine: for golden tests and for people. Kind, mode,
 * owner and time, then what the kind has: size and extents (`at<blob:offset+length`), link target, device; then attributes.
 * The second name of a file says `hardlink` and the first.
 */
export function dumpTree(tree: FileTree): string {
  const first = new Map<Node, string>();
  let text = "";
  for (const [path, node] of walk(tree)) {
    const before = first.get(node);
    first.set(node, path);
    const line = before === undefined ? describe(node) : `hardlink -> ${escaped(before)}`;
    text += `/${escaped(path)}\t${line}\n`;
    if (before !== undefined) first.set(node, before);
  }
  return text;
}

function describe(node: Node): string {
  const fields = [
    node.kind,
    node.mode.toString(8).padStart(4, "0"),
    `${node.uid}:${node.gid}`,
    `${node.mtime.seconds}${node.mtime.nanoseconds === 0 ? "" : `.${String(node.mtime.nanoseconds).padStart(9, "0")}`}`,
  ];
  if (node.kind === "file") {
    fields.push(String(node.size));
    for (const { at, blob, offset, length } of node.extents)
      fields.push(`${at}<${blob.slice(0, blob.indexOf(":") + 13)}:${offset}+${length}`);
  } else if (node.kind === "symlink") fields.push(`-> ${escaped(node.target)}`);
  else if (node.kind === "char" || node.kind === "block") fields.push(`${node.major},${node.minor}`);
  for (const [name, value] of [...node.xattrs].sort(([a], [b]) => (a < b ? -1 : 1)))
    fields.push(`${escaped(name)}=${Buffer.from(value).toString("base64")}`);
  return fields.join(" ");
}

/** Bytes that are no visible ASCII as `\xNN`, so that a name is one word on one line. */
function escaped(name: string): string {
  if (/^[!-[\]-~]*$/.test(name)) return name;
  let text = "";
  for (const byte of bytesOf(name))
    text +=
      byte > 0x20 && byte < 0x7f && byte !== 0x5c
        ? String.fromCharCode(byte)
        : `\\x${byte.toString(16).padStart(2, "0")}`;
  return text;
}
