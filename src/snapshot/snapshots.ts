import { existsSync } from "node:fs";
import { rename } from "node:fs/promises";
import { join } from "node:path";
import { hexOf, type Digest } from "#oci";
import { SharedCalls, diskFailure, type Store } from "#store";
import type { PlacedPart } from "./placed-part.ts";
import type { TreeRow } from "./tree-job.ts";
import { TreeThread } from "./tree-thread.ts";

/** How a snapshot is kept: an EROFS image that points into the blobs, or a directory with the files themselves. */
export type SnapshotForm = "erofs" | "directory";

/** The merged trees of manifests, made once each. */
export class Snapshots implements AsyncDisposable {
  readonly #store: Store;
  readonly #thread = new TreeThread();
  readonly #making = new SharedCalls<string>();
  readonly form: SnapshotForm;

  constructor(store: Store, form: SnapshotForm) {
    this.#store = store;
    this.form = form;
  }

  /** Lets the thread load while the bytes are still coming. */
  warm(): void {
    this.#thread.warm();
  }

  path(manifest: Digest): string {
    return join(this.#store.layout.snapshots, hexOf(manifest) + (this.form === "erofs" ? ".erofs" : ""));
  }

  /**
   * The snapshot's path; made if it is missing, by one caller of all, appearing whole or not at all.
   *
   * @throws Failure UNSAFE_PATH, INVALID_LAYER, INVALID_TAR, TREE_LIMIT, NO_SPACE …
   */
  async make(manifest: Digest, parts: readonly PlacedPart[]): Promise<string> {
    const path = this.path(manifest);
    if (existsSync(path)) return path;
    return await this.#making.run(path, () => this.#make(manifest, parts, path)).result;
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

  async #make(manifest: Digest, parts: readonly PlacedPart[], path: string): Promise<string> {
    await using place = await this.#store.workplace(`snapshot-${hexOf(manifest)}`);
    place.discard();
    if (existsSync(path)) return path;
    const to = join(place.path, "snapshot");
    const kind = this.form === "erofs" ? "encode" : "materialize";
    await this.#thread.run({ kind, to, parts, blobs: this.#store.layout.blobs });
    try {
      await rename(to, path);
    } catch (error) {
      throw diskFailure(error, `putting the snapshot of ${manifest} at its place`);
    }
    return path;
  }
}
