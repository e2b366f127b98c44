/**
 * The only way to the operating system's mounts. What cannot be mounted or unmounted is a Failure MOUNT_FAILED or UNMOUNT_FAILED that
 * names the paths and the kernel's reason, and leaves nothing behind. Every implementation, the fake included, passes `kernel.contract.ts`.
 */
export interface Kernel {
  /** Mounts an EROFS image file whose data lies in `devices` (files, in the order of its device table) at the directory `target`. */
  mountErofs(mount: ErofsMount, target: string): void;
  /**
   * Binds the directory or file `source` (its own mount only, not what is mounted below it) at `target`, which exists and is of the
   * same kind. A flag that is true is set, one that is false is cleared, one left out is as at the source. What is mounted below the
   * one later does not appear below the other, even where mounts are shared (as systemd has them).
   */
  bind(source: string, target: string, flags: MountFlags): void;
  mountTmpfs(target: string, options: { readonly sizeBytes?: number; readonly mode?: number }, flags: MountFlags): void;
  /** Unmounts what is on top at `target`, lazily (MNT_DETACH), since a container may still hold it. Not mounted is a success. */
  unmount(target: string): void;
  /** The mounts of this mount namespace in mount order, from /proc/self/mountinfo. */
  mounts(): readonly MountEntry[];
}

export interface MountFlags {
  readonly readOnly?: boolean;
  readonly noExec?: boolean;
  readonly noSuid?: boolean;
  readonly noDev?: boolean;
}

export interface ErofsMount {
  readonly image: string;
  readonly devices: readonly string[];
  /** Bypass the page cache of the blob files, so that data is cached once. Only where {@link ErofsSupport} says so. */
  readonly directIo: boolean;
  readonly flags: MountFlags;
}

export interface MountEntry {
  readonly target: string;
  readonly type: string;
  readonly source: string;
  /** The path within the filesystem that is mounted: `/` but for binds. */
  readonly root: string;
  /** Per-mount and per-superblock options together: `ro`, `nosuid`, `noexec` … */
  readonly options: readonly string[];
  /** `major:minor` of the filesystem: the same for all binds of one superblock. */
  readonly device: string;
}

/** What the kernel and the data directory's filesystem can do together, found by trying it out. */
export type ErofsSupport =
  { readonly supported: true; readonly directIo: boolean } | { readonly supported: false; readonly why: string };
