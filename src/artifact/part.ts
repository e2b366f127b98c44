import type { Descriptor, Manifest } from "#oci";

/** What becomes of one blob of a manifest. */
export type Part =
  /** An image layer: a tar whose whiteouts act on what lies below. `diffId` is the digest the config claims for the plain tar. */
  | { readonly kind: "layer"; readonly blob: Descriptor; readonly diffId?: string }
  /** A tar without whiteouts. `strip` is a leading path that its names lose (ORAS directories); `under` one that they get. */
  | { readonly kind: "archive"; readonly blob: Descriptor; readonly strip?: string; readonly under?: string }
  /** The blob is the file, or with `inflate` the file is what the blob (gzip or zstd) inflates to. */
  | {
      readonly kind: "file";
      readonly blob: Descriptor;
      readonly path: string;
      readonly attributes?: FileAttributes;
      readonly inflate?: true;
    }
  /**
   * The media type proves nothing: if the first bytes (inflated) are a tar's, an archive, or with `whiteouts` an image layer; else the
   * file `path`.
   */
  | {
      readonly kind: "sniff";
      readonly blob: Descriptor;
      readonly path: string;
      readonly strip?: string;
      readonly whiteouts?: true;
    };

export interface FileAttributes {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Seconds since the epoch. */
  readonly mtime?: number;
}

/** One way of packing files into a manifest. Adding one touches its module and the list in `formats/index.ts`. */
export interface ArtifactFormat {
  /** Shown by `orlop inspect`: `image`, `oras`, `modelpack`, `helm` … */
  readonly name: string;
  claims(manifest: Manifest): boolean;
  /**
   * `config` is the config blob, verified; empty where the manifest's config is the empty one.
   *
   * @throws Failure UNSAFE_PATH, INVALID_CONFIG, UNSUPPORTED_LAYER, UNSUPPORTED_ARTIFACT naming the descriptor's digest.
   */
  plan(manifest: Manifest, config: Uint8Array): readonly Part[];
}
