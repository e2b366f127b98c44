import type { TarHeader } from "#tar";

/** The header of an empty file `f`, owned by root, of 1970: tests say what differs. */
export const PLAIN: TarHeader = {
  path: "f",
  type: "file",
  mode: 0o644,
  uid: 0,
  gid: 0,
  mtime: { seconds: 0, nanoseconds: 0 },
  size: 0,
  linkname: "",
  devmajor: 0,
  devminor: 0,
  xattrs: new Map(),
};
