/** oci: the vocabulary of image-spec and distribution-spec, as values. Pure. */
export type { ByteRange, Descriptor, Platform } from "./descriptor.ts";
export {
  algorithmOf,
  digestNamed,
  digestOf,
  finish,
  hexOf,
  isDigest,
  parseDigest,
  type Algorithm,
  type Digest,
} from "./digest.ts";
export { MANIFEST_LIMIT, MEDIA, parseManifest, type Index, type Manifest } from "./manifest.ts";
export { choosePlatform, formatPlatform, hostPlatform } from "./platform.ts";
export { formatReference, parseReference, pin, type Reference } from "./reference.ts";
export type { Credentials, Destination, OpenBlob, Source } from "./source.ts";
