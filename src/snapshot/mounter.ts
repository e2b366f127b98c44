import { existsSync, mkdirSync, openSync, readSync, readdirSync, rmdirSync, statSync, closeSync } from "node:fs";
import { lstat } from "node:fs/promises";
import { join } from "node:path";
import { Failure, errnoOf } from "#base";
import { readDevices } from "#erofs";
import type { Kernel, MountEntry, MountFlags } from "#kernel";
import { hexOf, type Digest } from "#oci";
import { lockDirectory, type LockedDirectory, type Store } from "#store";
import type { PlacedPart } from "./placed-part.ts";
import type { Snapshots } from "./snapshots.ts";

/** More than 65,534 devices, the most an image can have, never need. Bytes. */
const DEVICE_TABLE = 9 * 1024 * 1024;
const LOCKED_DOWN: MountFlags = { readOnly: true, noExec: true, noSuid: true, noDev: true };

export interface MounterOptions {
  readonly kernel: Kernel;
  readonly store: Store;
  readonly snapshots: Snapshots;
  readonly runDir: string;
  /** Whether the kernel can bypass the page cache of the blobs. */
  readonly directIo: boolean;
}

export interface MountRequest {
  readonly manifest: Digest;
  readonly parts: readonly PlacedPart[];
  /** Without symlinks on the way, or with: they are followed in the tree, never by the kernel. */
  readonly subPath: string;
  /** Real path of a directory or file. */
  readonly target: string;
  readonly exec: boolean;
}

/** Turns snapshots into mounts: one superblock for each manifest, and binds of it with flags of their own. */
export class Mounter {
  readonly #options: MounterOptions;
  readonly #mounts: string;
  readonly #locks: string;

  constructor(options: MounterOptions) {
    this.#options = options;
    this.#mounts = join(options.runDir, "mounts");
    this.#locks = join(options.runDir, "locks");
    // A superblock is mounted for root's eyes only; Pods get binds.
    for (const path of [this.#mounts, this.#locks]) mkdirSync(path, { recursive: true, mode: 0o700 });
  }

  /** Keeps all others in the machine from mounting and unmounting this manifest until it is disposed. */
  async lock(manifest: Digest, signal?: AbortSignal): Promise<LockedDirectory> {
    const locked = await lockDirectory(join(this.#locks, hexOf(manifest)), signal);
    locked.discard();
    return locked;
  }

  /** Binds the tree, or what `subPath` names in it, at the target. The caller holds the lock. */
  async mount(request: MountRequest): Promise<void> {
    const { kernel } = this.#options;
    const root = await this.#root(request);
    const source = join(root, await this.#resolve(root, request));
    const isDirectory = statSync(source).isDirectory();
    if (isDirectory !== statSync(request.target).isDirectory())
      throw new Failure(
        "FAILED_PRECONDITION",
        "TARGET_WRONG_KIND",
        `${request.target} must be a ${isDirectory ? "directory" : "file"}, as what is mounted there is one`,
      );
    kernel.bind(source, request.target, { ...LOCKED_DOWN, noExec: !request.exec });
  }

  /** All mounts there are, for whoever asks about many. */
  table(): readonly MountEntry[] {
    return this.#options.kernel.mounts();
  }

  /** Whether the top mount at `target` is of this manifest. */
  isMounted(manifest: Digest, target: string, mounts = this.table()): boolean {
    const top = mounts.findLast((entry) => entry.target === target);
    if (top === undefined) return false;
    if (top.type !== "erofs") return `${top.root}/`.includes(`/snapshots/${hexOf(manifest)}/`);
    // A path that was too long for the kernel is not what it gives as its source.
    const superblock = mounts.findLast((entry) => entry.target === join(this.#mounts, hexOf(manifest)));
    return top.source === this.#options.snapshots.path(manifest, "erofs") || top.device === superblock?.device;
  }

  unmount(target: string): void {
    this.#options.kernel.unmount(target);
  }

  /** Nobody uses the manifest any more: its superblock goes. The caller holds the lock. */
  release(manifest: Digest): void {
    const at = join(this.#mounts, hexOf(manifest));
    while (this.#isMountPoint(at)) this.#options.kernel.unmount(at);
    try {
      rmdirSync(at);
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") throw error;
    }
  }

  /** Manifests that have a superblock, or its empty directory. */
  mounted(): readonly Digest[] {
    // Digests of manifests may be of either kind.
    return readdirSync(this.#mounts).map((hex) => `${hex.length > 64 ? "sha512" : "sha256"}:${hex}` as Digest);
  }

  async #root({ manifest, parts }: MountRequest): Promise<string> {
    const { snapshots, kernel, store, directIo } = this.#options;
    const at = join(this.#mounts, hexOf(manifest));
    if (this.#isMountPoint(at)) return at;
    const { path: image, form } = await snapshots.make(manifest, parts);
    if (form === "directory") return image;
    mkdirSync(at, { recursive: true, mode: 0o700 });
    const devices = readDevices(headOf(image)).map(({ digest }) => {
      const path = store.path(digest);
      if (existsSync(path)) return path;
      const message = `the blob ${digest} of ${manifest} is gone from the store; pull it again, or run fsck`;
      throw new Failure("DATA_LOSS", "BLOB_MISSING", message);
    });
    kernel.mountErofs({ image, devices, directIo, flags: LOCKED_DOWN }, at);
    return at;
  }

  #isMountPoint(path: string): boolean {
    return this.#options.kernel.mounts().some((entry) => entry.target === path);
  }

  /** Most paths have no symlinks, and then a look at each component is enough. What has some is looked up in the tree. */
  async #resolve(root: string, { subPath, parts }: MountRequest): Promise<string> {
    const components = subPath.split("/").filter((component) => component !== "" && component !== ".");
    if (components.length === 0) return "";
    let at = root;
    for (const component of components) {
      at = join(at, component);
      const found = await lstat(at).catch(() => undefined);
      if (component === ".." || subPath.startsWith("/") || found === undefined || found.isSymbolicLink())
        return await this.#options.snapshots.resolve(parts, subPath);
    }
    return components.join("/");
  }
}

function headOf(image: string): Uint8Array {
  const fd = openSync(image, "r");
  try {
    const head = Buffer.alloc(Math.min(statSync(image).size, DEVICE_TABLE));
    return head.subarray(0, readSync(fd, head, 0, head.length, 0));
  } finally {
    closeSync(fd);
  }
}
