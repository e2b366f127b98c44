import type { Digest } from "#oci";
import type { TarEntry, TarExtent } from "#tar";
import type { Attributes, Extent, Node } from "./file-tree.ts";
import { invalid } from "./refuse.ts";

/** Linux takes no longer symlink (PATH_MAX) and no bigger attribute (XATTR_NAME_MAX, XATTR_SIZE_MAX). Bytes. */
const TARGET_BYTES = 4095;
const XATTR_NAME_BYTES = 255;
const XATTR_BYTES = 65_536;
const NO_EXTENTS: readonly Extent[] = [];

/** The node of a tar member that is neither a directory nor a hard link. Its data stays where it is, in `blob`. */
export function nodeOf(entry: TarEntry, blob: Digest): Node {
  const attributes = attributesOf(entry, blob);
  const { type } = entry;
  switch (type) {
    case "file":
      return { kind: "file", ...attributes, size: entry.size, extents: extentsOf(entry.extents, blob) };
    case "symlink":
      if (entry.linkname === "" || entry.linkname.includes("\0") || Buffer.byteLength(entry.linkname) > TARGET_BYTES)
        throw invalid(entry.path, "its link target is empty, too long or contains a NUL byte", blob);
      return { kind: "symlink", ...attributes, target: entry.linkname };
    case "char":
    case "block":
      return { kind: type, ...attributes, major: entry.devmajor, minor: entry.devminor };
    case "fifo":
      return { kind: "fifo", ...attributes };
    case "directory":
    case "hardlink":
      break;
  }
  throw new TypeError(`a ${type} has no node of its own`);
}

/** @throws Failure INVALID_LAYER for attributes that Linux has no room for. */
export function attributesOf(entry: TarEntry, blob: Digest): Attributes {
  const { mode, uid, gid, mtime, xattrs } = entry;
  if (uid < 0 || uid >= 2 ** 32 - 1 || gid < 0 || gid >= 2 ** 32 - 1)
    throw invalid(entry.path, `its owner ${uid}:${gid} is no owner that Linux knows`, blob);
  for (const [name, value] of xattrs)
    if (name === "" || name.length > XATTR_NAME_BYTES || name.includes("\0") || value.length > XATTR_BYTES)
      throw invalid(entry.path, "it has an extended attribute that is too big or has no proper name", blob);
  return { mode, uid, gid, mtime, xattrs };
}

function extentsOf(extents: readonly TarExtent[], blob: Digest): readonly Extent[] {
  if (extents.length === 0) return NO_EXTENTS;
  return extents.map(({ at, offset, length }) => ({ at, blob, offset, length }));
}
