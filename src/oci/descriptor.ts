import type { Digest } from "./digest.ts";

/** image-spec, descriptor.md. `data` is the content itself, base64, for small blobs. `name` is Ollama's. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly urls?: readonly string[];
  readonly artifactType?: string;
  readonly platform?: Platform;
  readonly data?: string;
  readonly name?: string;
}

/** image-spec, image-index.md#image-index-property-descriptions */
export interface Platform {
  readonly architecture: string;
  readonly os: string;
  readonly variant?: string;
  readonly "os.version"?: string;
  readonly "os.features"?: readonly string[];
}

/** Half open, in bytes. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}
