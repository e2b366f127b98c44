// Trees as a reader sees them, wherever they come from: ours, or a directory of the disk.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { digestOf, type Digest } from "#oci";
import { readTar, type TarBytes } from "#tar";
import { applyArchive, createTree, finish, walk, type File, type FileTree } from "#tree";

/** Runs GNU tar and returns what it wrote. */
export function tar(...args: readonly string[]): Buffer {
  return execFileSync("tar", args, { maxBuffer: 2 ** 30, stdio: ["ignore", "pipe", "pipe"] });
}

export function over(archive: Buffer): TarBytes {
  return { size: archive.length, read: (offset, into) => archive.copy(into, 0, offset) };
}

/** What a tree points into. */
export type Blobs = ReadonlyMap<Digest, Buffer>;

/** Which directories have a time that the archives say; the others have whatever time it was. */
export type Timed = (path: string) => boolean;

/** One line for each name: what a reader sees, and which other name is the same file. */
export function view(tree: FileTree, blobs: Blobs, isTimed: Timed = () => true): string[] {
  const first = new Map<object, string>();
  return [...walk(tree)].slice(1).map(([path, node]) => {
    const { kind, mode, uid, gid, mtime } = node;
    const known = first.get(node);
    if (known === undefined) first.set(node, path);
    const time = kind === "directory" && !isTimed(path) ? "now" : `${mtime.seconds}.${mtime.nanoseconds}`;
    const xattrs = [...node.xattrs].map(([name, value]) => `${name}=${Buffer.from(value).toString("hex")}`).sort();
    const own =
      node.kind === "file"
        ? [node.size, sha256(node, blobs)]
        : node.kind === "symlink"
          ? [node.target]
          : node.kind === "char" || node.kind === "block"
            ? [node.major, node.minor]
            : [];
    return [path, kind, mode.toString(8), `${uid}:${gid}`, time, known ?? "", ...own, ...xattrs].join(" ");
  });
}

function sha256(file: File, blobs: Blobs): string {
  const hash = createHash("sha256");
  let at = 0;
  for (const extent of file.extents) {
    hash.update(Buffer.alloc(extent.at - at));
    hash.update(blobs.get(extent.blob)?.subarray(extent.offset, extent.offset + extent.length) ?? "");
    at = extent.at + extent.length;
  }
  return hash.update(Buffer.alloc(file.size - at)).digest("hex");
}

/** A directory of the disk as a tree: GNU tar packs it with everything it has, and a plain archive is read back. */
export function treeOf(directory: string): { tree: FileTree; blobs: Blobs } {
  const archive = tar("-c", "--format=pax", "--xattrs", "--xattrs-include=*", "--sort=name", "-C", directory, ".");
  const digest = digestOf(archive);
  const tree = createTree();
  applyArchive(tree, readTar(over(archive)), digest);
  return { tree: finish(tree), blobs: new Map([[digest, archive]]) };
}
