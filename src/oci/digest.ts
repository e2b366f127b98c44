import { createHash, type Hash } from "node:crypto";
import { Failure } from "#base";

declare const brand: unique symbol;

/** `sha256:<64 hex>` or `sha512:<128 hex>`: the name of stored bytes. image-spec, descriptor.md#digests */
export type Digest = `${Algorithm}:${string}` & { readonly [brand]: "Digest" };
export type Algorithm = "sha256" | "sha512";

const DIGEST = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

export function isDigest(text: string): text is Digest {
  return DIGEST.test(text);
}

/** @throws Failure INVALID_DIGEST */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text;
  throw new Failure(
    "INVALID_ARGUMENT",
    "INVALID_DIGEST",
    `${JSON.stringify(text)} is not a digest: write sha256: and 64 hex digits, or sha512: and 128`,
  );
}

export function algorithmOf(digest: Digest): Algorithm {
  return digest.startsWith("sha512:") ? "sha512" : "sha256";
}

/** The hex digits behind the colon. */
export function hexOf(digest: Digest): string {
  return digest.slice(digest.indexOf(":") + 1);
}

/** The digest whose hex digits these are: 64 of a sha256, 128 of a sha512. */
export function digestNamed(hex: string): Digest {
  return `${hex.length > 64 ? "sha512" : "sha256"}:${hex}` as Digest;
}

export function digestOf(bytes: Uint8Array | string, algorithm: Algorithm = "sha256"): Digest {
  return finish(createHash(algorithm).update(bytes), algorithm);
}

/** Ends a running hash as a digest. */
export function finish(hash: Hash, algorithm: Algorithm = "sha256"): Digest {
  return `${algorithm}:${hash.digest("hex")}` as Digest;
}
