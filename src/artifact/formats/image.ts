import { Failure } from "#base";
import { MEDIA, type Manifest } from "#oci";
import { namedPath } from "../file-path.ts";
import { isImageLayerType, refuseUnreadable } from "../layer-type.ts";
import type { ArtifactFormat } from "../part.ts";
import { parseConfig } from "../parse-config.ts";

const CONFIGS: readonly string[] = [MEDIA.imageConfig, MEDIA.dockerConfig];

/**
 * Whether a manifest is a container image: an image's config, no artifact type (or the config's own), and nothing but image
 * layers. Signatures, attestations and Ollama's models have an image's config too, but not its layers.
 */
export function isImage(manifest: Manifest): boolean {
  const { artifactType, config, layers } = manifest;
  return (
    CONFIGS.includes(config.mediaType) &&
    (artifactType === undefined || artifactType === "" || CONFIGS.includes(artifactType)) &&
    layers.every((layer) => isImageLayerType(layer.mediaType))
  );
}

/**
 * OCI and Docker images: image-spec, config.md and layer.md. Titles of layers mean nothing (Homebrew writes them), except where the config
 * names no diffIDs: then a layer that is no tar is a file, as `oras push --config` makes them.
 */
export const image: ArtifactFormat = {
  name: "image",
  claims: isImage,
  plan(manifest, config) {
    const diffIds = diffIdsOf(manifest, config);
    return manifest.layers.map((blob, i) => {
      refuseUnreadable(blob);
      const diffId = diffIds?.[i];
      if (diffId !== undefined) return { kind: "layer", blob, diffId };
      // Nobody vouches that this is a tar, and ORAS calls every file one.
      const path = namedPath(blob);
      return path === undefined ? { kind: "layer", blob } : { kind: "sniff", blob, path, whiteouts: true };
    });
  },
};

function diffIdsOf(manifest: Manifest, config: Uint8Array): readonly string[] | undefined {
  const rootfs = parseConfig(manifest, config)["rootfs"];
  // Tools that push an image without running one (`oras push --config`) leave the config empty.
  const list = typeof rootfs === "object" && rootfs !== null && "diff_ids" in rootfs ? rootfs.diff_ids : undefined;
  if (list == null) return undefined;
  if (!Array.isArray(list) || !list.every((id) => typeof id === "string"))
    throw invalid(manifest, "rootfs.diff_ids is not a list of digests");
  if (list.length !== manifest.layers.length)
    throw invalid(manifest, `it names ${list.length} diffIDs for ${manifest.layers.length} layers`);
  return list;
}

function invalid(manifest: Manifest, what: string): Failure {
  return new Failure("INVALID_ARGUMENT", "INVALID_CONFIG", `config ${manifest.config.digest} cannot be used: ${what}`);
}
