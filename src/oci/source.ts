import type { CallOptions } from "#base";
import type { ByteRange, Descriptor } from "./descriptor.ts";
import type { Reference } from "./reference.ts";

/** Where content is read from: a registry, a mirror, the store, an OCI layout, another runtime, memory. */
export interface Source {
  /** Says in errors and events where bytes came from: `registry quay.io`, `oci layout /x`. */
  readonly name: string;
  /** @throws Failure NOT_FOUND, UNAUTHENTICATED, UNAVAILABLE … naming the host. */
  resolve(reference: Reference, call?: CallOptions): Promise<Descriptor>;
  /** The whole content of a small blob or manifest, verified against `target.digest` and `target.size`. */
  fetch(target: Descriptor, call?: CallOptions): Promise<Uint8Array>;
  /**
   * Bytes of a blob from `range.start` on, unverified, fit only for an ingest. `range.end` may not be honoured (a server
   * without ranges sends everything from 0): `start` says where the bytes that follow really begin.
   */
  open(target: Descriptor, range: ByteRange, call?: CallOptions): Promise<OpenBlob>;
  /** The manifests that name `subject` as theirs. distribution-spec, "Listing Referrers". */
  referrers(subject: Descriptor, call?: CallOptions): AsyncIterable<Descriptor>;
}

export interface OpenBlob {
  /** Offset in the blob of the first byte of `body`. */
  readonly start: number;
  readonly body: AsyncIterable<Uint8Array>;
  /**
   * Where present: gives back a piece of `body` that is done with, whole and once, so that its memory is read into again
   * instead of fresh memory. Nobody has to call it.
   */
  readonly release?: (piece: Uint8Array) => void;
}

/** Where content is written to. `push` of what is there already is a success. */
export interface Destination {
  readonly name: string;
  pushBlob(blob: Descriptor, bytes: () => AsyncIterable<Uint8Array>, call?: CallOptions): Promise<void>;
  /** Puts the manifest under its digest, and under `tag` where one is given. */
  pushManifest(manifest: Descriptor, bytes: Uint8Array, tag?: string, call?: CallOptions): Promise<void>;
}

/** What a registry may ask for. `anonymous` is the absence of this. */
export type Credentials =
  | { readonly username: string; readonly password: string }
  /** An OAuth2 refresh token (docker's `identitytoken`). */
  | { readonly identityToken: string }
  /** A bearer token, used as it is. */
  | { readonly registryToken: string };
