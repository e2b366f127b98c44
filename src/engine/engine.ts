import type { CallOptions } from "#base";
import type { Credentials, Digest, Manifest, Platform, Source } from "#oci";
import type { Watermark } from "./watermarks.ts";

/** What every door calls. Errors are Failures whose messages name the reference, the digest and the host. */
export interface Engine extends AsyncDisposable {
  /**
   * Makes sure that the object is here whole: resolved, fetched, verified, merged, encoded. Fifty calls for one object fetch
   * it once. An aborted call stops waiting; what was fetched stays for the next one.
   */
  pull(request: PullRequest, call?: CallOptions): Promise<StoredObject>;
  /** Resolves and reads the manifest only; nothing is kept. Tells images from artifacts. */
  classify(request: PullRequest, call?: CallOptions): Promise<Classified>;
  /** By reference (`busybox`, `quay.io/crio/artifact:v1`), by `repo@digest`, or by manifest digest. Never asks a registry. */
  find(name: string): Promise<StoredObject | undefined>;
  list(): Promise<readonly StoredObject[]>;
  /** The packaging it was taken for, and its tree. @throws Failure NOT_FOUND */
  inspect(name: string): Promise<Inspection>;
  /** Forgets one reference, or with a digest the object and all its references. @throws Failure IN_USE while a volume holds it. */
  remove(name: string): Promise<void>;
  /** Files and directories become an ORAS-style artifact, or with `image` an image of one layer; pushed to a registry. */
  push(request: PushRequest, call?: CallOptions): Promise<{ readonly digest: Digest; readonly size: number }>;

  /** Mounts a stored object at a directory that exists and is empty (with a file subPath: at a file). Idempotent by (owner, target). */
  publish(request: PublishRequest, call?: CallOptions): Promise<Volume>;
  /** Undoes `publish`: one target of an owner, or all of them. What is not there is a success. */
  unpublish(owner: string, target?: string): Promise<void>;
  volumes(): Promise<readonly Volume[]>;

  /** Deletes what no reference and no volume needs. Bytes freed. */
  prune(
    request?: PruneRequest,
    call?: CallOptions,
  ): Promise<{ readonly freed: number; readonly removed: readonly string[] }>;
  /** Re-reads every blob against its digest. */
  fsck(call?: CallOptions): Promise<readonly FsckFinding[]>;
  /** Bytes and inodes under the data directory. */
  usage(): Promise<{ readonly bytes: number; readonly inodes: number; readonly path: string }>;
}

export interface PullRequest {
  readonly reference: string;
  /** Tried in order; empty or absent means what the host's own credential files say, then anonymous. */
  readonly credentials?: readonly Credentials[];
  readonly platform?: Platform;
  /** Asked for each blob before the registry is: another store on this machine, such as containerd's. */
  readonly preferred?: Source;
  /**
   * Read from files instead of the registry: `oci:/dir[:name]`, `oci-archive:/file[:name]`, `docker-archive:/file[:name]`.
   * Only for who may read any file of this machine: never from a request of a Pod.
   */
  readonly from?: string;
}

export interface Classified {
  readonly digest: Digest;
  readonly isImage: boolean;
  readonly packaging: string;
  readonly manifest: Manifest;
}

/** One manifest that is here whole. */
export interface StoredObject {
  /** Of the manifest, after an index was resolved to the platform. */
  readonly digest: Digest;
  /** Digest of what the reference resolved to: the index, or the manifest itself. */
  readonly resolved: Digest;
  /** Every reference that points here: `quay.io/crio/artifact:v1`. */
  readonly references: readonly string[];
  /** `registry/repository@digest` for every repository it was pulled from. */
  readonly repoDigests: readonly string[];
  readonly mediaType: string;
  readonly artifactType?: string;
  readonly packaging: string;
  readonly isImage: boolean;
  /** Bytes of manifest, config and blobs as the registry holds them. */
  readonly size: number;
  /** Milliseconds since the epoch. */
  readonly pulledAt: number;
}

export interface Inspection {
  readonly object: StoredObject;
  readonly manifest: Manifest;
  readonly config: unknown;
  readonly tree: readonly InspectedFile[];
}

export interface InspectedFile {
  readonly path: string;
  readonly kind: string;
  /** Octal, as `ls` would write it: `0755`. */
  readonly mode: string;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly target?: string;
}

export interface PushRequest {
  readonly reference: string;
  readonly paths: readonly string[];
  readonly artifactType?: string;
  /** Makes an image whose only layer holds the paths; its config says what runs. */
  readonly image?: {
    readonly entrypoint?: readonly string[];
    readonly cmd?: readonly string[];
    readonly env?: readonly string[];
    readonly user?: string;
    readonly workingDir?: string;
  };
  /** Of the layers: ORAS packs directories as gzip. */
  readonly compression?: "gzip" | "zstd" | "none";
  readonly annotations?: Readonly<Record<string, string>>;
  readonly credentials?: readonly Credentials[];
}

export interface PublishRequest {
  /** Who needs it: a Pod sandbox, a CSI volume, a person's `orlop mount`. Survives restarts. */
  readonly owner: string;
  readonly digest: Digest;
  /** Absolute. */
  readonly target: string;
  /** A directory or a file inside the tree; missing is NOT_FOUND, leaving the tree is UNSAFE_PATH. */
  readonly subPath?: string;
  /** Allow programs in the volume to be run. Off unless asked. */
  readonly exec?: boolean;
}

export interface Volume {
  readonly owner: string;
  readonly digest: Digest;
  readonly target: string;
  readonly subPath: string;
  readonly exec: boolean;
  /** False after a reboot or an unmount behind our back; `publish` again mends it. */
  readonly mounted: boolean;
}

export interface PruneRequest {
  /** Also what references still name but no volume uses, least recently used first, until the store is below this. */
  readonly downTo?: Watermark;
  /** Of those only where the store is above this. */
  readonly above?: Watermark;
}

export interface FsckFinding {
  readonly digest: Digest;
  readonly path: string;
  readonly problem: string;
  /** It was fetched again and is right now, or nothing needs it any more. */
  readonly isMended: boolean;
}
