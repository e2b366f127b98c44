import { existsSync } from "node:fs";
import { rename } from "node:fs/promises";
import { join } from "node:path";
import { isFailure } from "#base";
import { hexOf, type Digest } from "#oci";
import { SharedCalls, diskFailure, type Store } from "#store";
import type { PlacedPart } from "./placed-part.ts";
import type { TreeRow } from "./tree-job.ts";
import { TreeThread } from "./tree-thread.ts";

/** How a snapshot is kept: an EROFS image that points into the blobs, or a directory with the files themselves. */
export type SnapshotForm = "erofs" | "directory";

/** Where the tree of one manifest is, and how it is kept there. */
export interface Snapshot {
  readonly path: string;
  readonly form: SnapshotForm;
}

/**
 * What EROFS cannot say, or not of blobs where they lie. Such a tree is kept as a directory, though others are images. One that has
 * too many entries for an image would be worse as a directory.
 */
const BEYOND_EROFS = ["UNALIGNED_EXTENT", "XATTR_TOO_LARGE", "BLOB_TOO_LARGE", "TOO_MANY_BLOBS"];

/** The merged trees of manifests, made once each. */
export class Snapshots implements AsyncDisposable {
  readonly #store: Store;
  readonly #thread = new TreeThread();
  readonly #making = new SharedCalls<Snapshot>();
  readonly #form: SnapshotForm;

  /** `form` is how they are made from now on, where it can be. */
  constructor(store: Store, form: SnapshotForm) {
    this.#store = store;
    this.#form = form;
  }

  /** Lets the thread load while the bytes are still coming. */
  warm(): void {
    this.#thread.warm();
  }

  path(manifest: Digest, form: SnapshotForm): string {
    return join(this.#store.layout.snapshots, hexOf(manifest) + (form === "erofs" ? ".erofs" : ""));
  }

  /**
   * The snapshot; made if it is missing, by one caller of all, appearing whole or not at all.
   *
   * @throws Failure UNSAFE_PATH, INVALID_LAYER, INVALID_TAR, TREE_LIMIT, NO_SPACE …
   */
  async make(manifest: Digest, parts: readonly PlacedPart[]): Promise<Snapshot> {
    return this.#find(manifest) ?? (await this.#making.run(manifest, () => this.#make(manifest, parts)).result);
  }

  async list(parts: readonly PlacedPart[]): Promise<readonly TreeRow[]> {
    const { rows } = await this.#thread.run({ kind: "list", parts, blobs: this.#store.layout.blobs });
    return rows ?? [];
  }

  /** Where a subPath lies, with symlinks followed inside the tree. @throws Failure SUBPATH_NOT_FOUND, UNSAFE_PATH */
  async resolve(parts: readonly PlacedPart[], path: string): Promise<string> {
    const { path: found } = await this.#thread.run({ kind: "lookup", path, parts, blobs: this.#store.layout.blobs });
    return found ?? "";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#thread[Symbol.asyncDispose]();
    await this.#making.settled();
  }

  #find(manifest: Digest): Snapshot | undefined {
    const forms: readonly SnapshotForm[] = this.#form === "erofs" ? ["erofs", "directory"] : ["directory"];
    return forms.map((form) => ({ form, path: this.path(manifest, form) })).find(({ path }) => existsSync(path));
  }

  async #make(manifest: Digest, parts: readonly PlacedPart[]): Promise<Snapshot> {
    await using place = await this.#store.workplace(`snapshot-${hexOf(manifest)}`);
    place.discard();
    const found = this.#find(manifest);
    if (found !== undefined) return found;
    const to = join(place.path, "snapshot");
    const form = await this.#write(parts, to);
    const path = this.path(manifest, form);
    try {
      await rename(to, path);
    } catch (error) {
      throw diskFailure(error, `putting the snapshot of ${manifest} at its place`);
    }
    return { path, form };
  }

  async #write(parts: readonly PlacedPart[], to: string): Promise<SnapshotForm> {
    const job = { parts, to, blobs: this.#store.layout.blobs };
    try {
      if (this.#form === "erofs") {
        await this.#thread.run({ kind: "encode", ...job });
        return "erofs";
      }
    } catch (error) {
      if (!isFailure(error, ...BEYOND_EROFS)) throw error;
    }
    await this.#thread.run({ kind: "materialize", ...job });
    return "directory";
  }
}
