/** One member of a tar archive, with PAX and GNU extensions folded in. Names are made by `nameOf` (base/names.ts). */
export interface TarEntry {
  /** As written in the archive; not cleaned, not checked. */
  readonly path: string;
  readonly type: "file" | "directory" | "hardlink" | "symlink" | "char" | "block" | "fifo";
  /** Permission bits with setuid, setgid and sticky: 0..0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: Time;
  /** Bytes of the file as a reader sees it (for a sparse file: with its holes). 0 for what is no file. */
  readonly size: number;
  /** Where the file's bytes are in the tar; a sparse file has several. Offsets in bytes, ascending, never overlapping. */
  readonly extents: readonly TarExtent[];
  /** Target of a hardlink or symlink, else "". */
  readonly linkname: string;
  readonly devmajor: number;
  readonly devminor: number;
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
}

export interface TarExtent {
  /** Offset in the file. */
  readonly at: number;
  /** Offset in the tar. */
  readonly offset: number;
  readonly length: number;
}

/** Seconds since the epoch, negative before it, and nanoseconds 0..999999999 to be added. */
export interface Time {
  readonly seconds: number;
  readonly nanoseconds: number;
}

/** Random access to the bytes of an archive. */
export interface TarBytes {
  readonly size: number;
  /** Fills `into` from `offset` on, as far as the archive goes, and returns how many bytes that were. */
  read(offset: number, into: Uint8Array): number;
}
