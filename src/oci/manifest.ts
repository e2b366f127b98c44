import { Failure } from "#base";
import type { Descriptor } from "./descriptor.ts";
import { isDigest } from "./digest.ts";

export const MEDIA = {
  manifest: "application/vnd.oci.image.manifest.v1+json",
  index: "application/vnd.oci.image.index.v1+json",
  imageConfig: "application/vnd.oci.image.config.v1+json",
  empty: "application/vnd.oci.empty.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar",
  dockerManifest: "application/vnd.docker.distribution.manifest.v2+json",
  dockerIndex: "application/vnd.docker.distribution.manifest.list.v2+json",
  dockerConfig: "application/vnd.docker.container.image.v1+json",
} as const;

/** image-spec, manifest.md; Docker's schema 2 has the same shape. */
export interface Manifest {
  readonly kind: "manifest";
  readonly mediaType: string;
  readonly artifactType?: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly subject?: Descriptor;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** image-spec, image-index.md; Docker's manifest list has the same shape. */
export interface Index {
  readonly kind: "index";
  readonly mediaType: string;
  readonly artifactType?: string;
  readonly manifests: readonly Descriptor[];
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Registries refuse manifests above 4 MiB (distribution-spec, "Pushing Manifests"); so do we. Bytes. */
export const MANIFEST_LIMIT = 4 * 1024 * 1024;

/**
 * Reads a manifest or an index and checks its shape, so that nobody behind this line meets a malformed descriptor.
 *
 * @throws Failure INVALID_MANIFEST naming the field.
 */
export function parseManifest(bytes: Uint8Array, mediaType?: string): Manifest | Index {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch (cause) {
    throw invalid("it is not JSON", cause);
  }
  if (!isRecord(json)) throw invalid("it is not a JSON object");
  if (json["schemaVersion"] === 1)
    throw invalid("it is a Docker schema 1 manifest, which no registry has served for years; push the image again");
  const type = typeof json["mediaType"] === "string" ? json["mediaType"] : mediaType;
  const common = {
    ...(typeof json["artifactType"] === "string" ? { artifactType: json["artifactType"] } : {}),
    ...(json["annotations"] == null ? {} : { annotations: strings(json["annotations"], "annotations") }),
  };
  const isIndex = type === MEDIA.index || type === MEDIA.dockerIndex || (!("layers" in json) && "manifests" in json);
  if (isIndex) {
    const manifests = list(json["manifests"], "manifests");
    return { kind: "index", mediaType: type ?? MEDIA.index, ...common, manifests };
  }
  return {
    kind: "manifest",
    mediaType: type ?? MEDIA.manifest,
    ...common,
    config: descriptor(json["config"], "config"),
    layers: json["layers"] == null ? [] : list(json["layers"], "layers"),
    ...(json["subject"] == null ? {} : { subject: descriptor(json["subject"], "subject") }),
  };
}

function list(value: unknown, field: string): readonly Descriptor[] {
  if (!Array.isArray(value)) throw invalid(`${field} is not a list`);
  return value.map((item, i) => descriptor(item, `${field}[${i}]`));
}

function descriptor(value: unknown, field: string): Descriptor {
  if (!isRecord(value)) throw invalid(`${field} is not a descriptor`);
  const { mediaType, digest, size, annotations, data, name } = value;
  if (typeof digest !== "string" || !isDigest(digest)) throw invalid(`${field}.digest is not a digest`);
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0)
    throw invalid(`${field}.size is not a number of bytes`);
  if (data != null && typeof data !== "string") throw invalid(`${field}.data is not a string`);
  return {
    ...(value as Partial<Descriptor>),
    mediaType: typeof mediaType === "string" ? mediaType : "",
    digest,
    size,
    ...(annotations == null ? {} : { annotations: strings(annotations, `${field}.annotations`) }),
    ...(typeof name === "string" ? { name } : {}),
  };
}

function strings(value: unknown, field: string): Readonly<Record<string, string>> {
  if (!isRecord(value)) throw invalid(`${field} is not a map of strings`);
  for (const [key, item] of Object.entries(value))
    if (typeof item !== "string") throw invalid(`${field}[${JSON.stringify(key)}] is not a string`);
  return value as Record<string, string>;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function invalid(what: string, cause?: unknown): Failure {
  return new Failure("INVALID_ARGUMENT", "INVALID_MANIFEST", `the manifest cannot be used: ${what}`, { cause });
}
