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
  const { mode, uid, gid, mtime, xattrs } = checked(entry, blob);
  const { type } = entry;
  switch (type) {
    case "file":
      return { kind: type, mode, uid, gid, mtime, xattrs, size: entry.size, extents: extentsOf(entry.extents, blob) };
    case "symlink":
      // On Linux no symlink has another mode, whatever an archive says.
      return { kind: type, mode: 0o777, uid, gid, mtime, xattrs, target: targetOf(entry, blob) };
    case "char":
    case "block":
      return { kind: type, mode, uid, gid, mtime, xattrs, major: entry.devmajor, minor: entry.devminor };
    case "fifo":
      return { kind: type, mode, uid, gid, mtime, xattrs };
    case "directory":
    case "hardlink":
      break;
  }
  throw new TypeError(`a ${type} has no node of its own`);
}

function targetOf(entry: TarEntry, blob: Digest): string {
  const { linkname } = entry;
  if (linkname !== "" && !linkname.includes("\0") && Buffer.byteLength(linkname) <= TARGET_BYTES) return linkname;
  throw invalid(entry.path, "its link target is empty, too long or contains a NUL byte", blob);
}

/** The entry itself. @throws Failure INVALID_LAYER for attributes that Linux has no room for. */
export function checked(entry: TarEntry, blob: Digest): Attributes {
  const { uid, gid, xattrs } = entry;
  if (uid < 0 || uid >= 2 ** 32 - 1 || gid < 0 || gid >= 2 ** 32 - 1)
    throw invalid(entry.path, `its owner ${uid}:${gid} is no owner that Linux knows`, blob);
  if (xattrs.size === 0) return entry;
  for (const [name, value] of xattrs)
    if (name === "" || name.length > XATTR_NAME_BYTES || name.includes("\0") || value.length > XATTR_BYTES)
      throw invalid(entry.path, "it has an extended attribute that is too big or has no proper name", blob);
  return entry;
}

function extentsOf(extents: readonly TarExtent[], blob: Digest): readonly Extent[] {
  const [first] = extents;
  if (first === undefined) return NO_EXTENTS;
  if (extents.length === 1) return [{ at: first.at, blob, offset: first.offset, length: first.length }];
  return extents.map(({ at, offset, length }) => ({ at, blob, offset, length }));
}
