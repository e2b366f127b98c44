import type { Digest } from "#oci";
import type { Time } from "#tar";

/** A merged, read-only file tree. Two names of one file (hard links) are one and the same node object. */
export interface FileTree {
  readonly root: Directory;
}

export type Node = Directory | File | Symlink | Device | Special;

export interface Attributes {
  /** Permission bits with setuid, setgid and sticky: 0..0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: Time;
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
}

export interface Directory extends Attributes {
  readonly kind: "directory";
  readonly entries: ReadonlyMap<string, Node>;
}

export interface File extends Attributes {
  readonly kind: "file";
  /** Bytes as a reader sees them. What no extent covers reads as zeros. */
  readonly size: number;
  readonly extents: readonly Extent[];
}

/** Where a stretch of a file's bytes lies: never copied, only pointed at. */
export interface Extent {
  /** Offset in the file, in bytes. */
  readonly at: number;
  readonly blob: Digest;
  /** Offset in the blob, in bytes. A multiple of 512 for everything that comes out of a tar or is a whole blob. */
  readonly offset: number;
  readonly length: number;
}

export interface Symlink extends Attributes {
  readonly kind: "symlink";
  readonly target: string;
}

export interface Device extends Attributes {
  readonly kind: "char" | "block";
  readonly major: number;
  readonly minor: number;
}

export interface Special extends Attributes {
  readonly kind: "fifo" | "socket";
}
