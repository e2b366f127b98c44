import { Failure, type CallOptions } from "#base";
import { isImage, planParts } from "#artifact";
import {
  MANIFEST_LIMIT,
  MEDIA,
  choosePlatform,
  formatPlatform,
  formatReference,
  parseManifest,
  type Descriptor,
  type Digest,
  type Manifest,
  type Platform,
  type Reference,
  type Source,
} from "#oci";
import type { Classified } from "./engine.ts";

/** Configs are read into memory whole. Bytes. */
const CONFIG_LIMIT = 16 * 1024 * 1024;
/** An index may point to an index; nobody nests deeper in earnest. */
const DEPTH = 3;

/** A manifest for the node's platform, and where it came from. */
export interface Resolved {
  /** What the reference names: an index, or the manifest itself. */
  readonly resolved: Digest;
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
  readonly manifest: Manifest;
}

/** @throws Failure NO_PLATFORM where an index has nothing for the platform; the source's own for the rest */
export async function resolveManifest(
  reference: Reference,
  source: Source,
  platform: Platform,
  call?: CallOptions,
): Promise<Resolved> {
  const top = await source.resolve(reference, call);
  let descriptor = top;
  for (let depth = 0; depth < DEPTH; depth++) {
    if (descriptor.size > MANIFEST_LIMIT)
      throw new Failure(
        "INVALID_ARGUMENT",
        "INVALID_MANIFEST",
        `the manifest ${descriptor.digest} has ${descriptor.size} bytes; more than ${MANIFEST_LIMIT} are refused`,
      );
    const bytes = await source.fetch(descriptor, call);
    const parsed = parseManifest(bytes, descriptor.mediaType);
    if (parsed.kind === "manifest")
      return { resolved: top.digest, descriptor: { ...descriptor, size: bytes.length }, bytes, manifest: parsed };
    const chosen = choosePlatform(parsed, platform);
    if (chosen === undefined)
      throw new Failure(
        "NOT_FOUND",
        "NO_PLATFORM",
        `${formatReference(reference)} has nothing for ${formatPlatform(platform)}; it has ${offered(parsed.manifests)}`,
      );
    descriptor = chosen;
  }
  throw new Failure("INVALID_ARGUMENT", "INVALID_MANIFEST", `${formatReference(reference)} nests indexes too deeply`);
}

/** The config blob, verified; no bytes where the config is the empty one. */
export async function fetchConfig(manifest: Manifest, source: Source, call?: CallOptions): Promise<Uint8Array> {
  const { config } = manifest;
  if (config.mediaType === MEDIA.empty) return new Uint8Array();
  if (config.size > CONFIG_LIMIT)
    throw new Failure(
      "INVALID_ARGUMENT",
      "INVALID_CONFIG",
      `the config ${config.digest} has ${config.size} bytes; more than ${CONFIG_LIMIT} are refused`,
    );
  return await source.fetch(config, call);
}

export async function classify(resolved: Resolved, source: Source, call?: CallOptions): Promise<Classified> {
  const { manifest, descriptor } = resolved;
  const config = await fetchConfig(manifest, source, call);
  const { format } = planParts(manifest, config);
  return { digest: descriptor.digest, isImage: isImage(manifest), packaging: format.name, manifest };
}

function offered(manifests: readonly Descriptor[]): string {
  const platforms = manifests.flatMap(({ platform }) => (platform === undefined ? [] : [formatPlatform(platform)]));
  return platforms.length === 0 ? "nothing" : [...new Set(platforms)].join(", ");
}
