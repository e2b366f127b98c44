import {
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  fstatSync,
  ftruncateSync,
  lchownSync,
  linkSync,
  mkdirSync,
  openSync,
  readSync,
  statSync,
  symlinkSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { bytesOf } from "#base";
import { makeNode, setTimes, setXattr, syncfs } from "#kernel";
import { hexOf } from "#oci";
import { walk, type File, type FileTree, type Node } from "#tree";

const CHUNK = 1024 * 1024;

/**
 * Writes the tree as a directory of real files, for kernels that cannot mount EROFS from files. A file that is a whole blob shares
 * its inode with the blob where that one is free to take the file's attributes; everything else is copied. On disk when it returns.
 */
export function materialize(tree: FileTree, blobs: string, to: string): void {
  const first = new Map<Node, string>();
  const directories: [string, Node][] = [];
  for (const [name, node] of walk(tree)) {
    const path = name === "" ? to : join(to, name);
    const before = first.get(node);
    if (before !== undefined) {
      linkSync(bytesOf(before), bytesOf(path));
      continue;
    }
    if (node.kind === "directory") {
      mkdirSync(bytesOf(path), { mode: 0o700 });
      directories.push([path, node]);
      continue;
    }
    first.set(node, path);
    if (make(path, node, blobs)) setAttributes(path, node);
  }
  // What is made in a directory changes its time, and a directory may forbid making anything in it.
  for (const [path, node] of directories.reverse()) setAttributes(path, node);
  const fd = openSync(to, "r");
  syncfs(fd);
  closeSync(fd);
}

/** Makes what is no directory. False where it has its attributes already. */
function make(path: string, node: Exclude<Node, { kind: "directory" }>, blobs: string): boolean {
  switch (node.kind) {
    case "file":
      return !linkWhole(path, node, blobs) && copy(path, node, blobs);
    case "symlink":
      symlinkSync(bytesOf(node.target), bytesOf(path));
      break;
    case "char":
    case "block":
      makeNode(path, node.kind, 0o600, node);
      break;
    case "fifo":
    case "socket":
      makeNode(path, node.kind, 0o600);
      break;
  }
  return true;
}

/** Gives the file the inode of its blob, if it is all of it and nothing else uses that inode with other attributes. */
function linkWhole(path: string, file: File, blobs: string): boolean {
  const [extent, ...others] = file.extents;
  if (extent === undefined || others.length > 0 || extent.at !== 0 || extent.offset !== 0 || file.xattrs.size > 0)
    return false;
  const blob = join(blobs, hexOf(extent.blob));
  const found = statSync(blob, { bigint: true });
  if (found.size !== BigInt(file.size) || extent.length !== file.size) return false;
  const time = BigInt(file.mtime.seconds) * 1_000_000_000n + BigInt(file.mtime.nanoseconds);
  const fits =
    Number(found.mode) % 0o10000 === file.mode &&
    Number(found.uid) === file.uid &&
    Number(found.gid) === file.gid &&
    found.mtimeNs === time;
  if (!fits && found.nlink > 1n) return false;
  try {
    linkSync(blob, bytesOf(path));
  } catch {
    // Too many links, or a filesystem without them.
    return false;
  }
  if (!fits) setAttributes(path, file);
  return true;
}

function copy(path: string, file: File, blobs: string): true {
  const [extent] = file.extents;
  const blob = extent === undefined ? "" : join(blobs, hexOf(extent.blob));
  if (extent !== undefined && extent.length === file.size && statSync(blob).size === file.size) {
    copyFileSync(blob, bytesOf(path), constants.COPYFILE_FICLONE);
    return true;
  }
  const out = openSync(bytesOf(path), "wx", 0o600);
  try {
    const buffer = Buffer.allocUnsafe(Math.min(CHUNK, Math.max(file.size, 1)));
    for (const { at, blob, offset, length } of file.extents) {
      const from = openSync(join(blobs, hexOf(blob)), "r");
      try {
        for (let done = 0; done < length;) {
          const read = readSync(from, buffer, 0, Math.min(buffer.length, length - done), offset + done);
          if (read === 0) break;
          for (let put = 0; put < read;) put += writeSync(out, buffer, put, read - put, at + done + put);
          done += read;
        }
      } finally {
        closeSync(from);
      }
    }
    // Holes at the end, too.
    if (fstatSync(out).size !== file.size) ftruncateSync(out, file.size);
  } finally {
    closeSync(out);
  }
  return true;
}

function setAttributes(path: string, node: Node): void {
  lchownSync(bytesOf(path), node.uid, node.gid);
  // A new owner clears setuid and setgid, so the mode comes behind.
  if (node.kind !== "symlink") chmodSync(bytesOf(path), node.mode);
  for (const [name, value] of node.xattrs) setXattr(path, name, value);
  setTimes(path, node.mtime);
}
