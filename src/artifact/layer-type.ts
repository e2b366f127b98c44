import { Failure } from "#base";
import type { Descriptor } from "#oci";

/** Media types of image layers, as image-spec (layer.md) and Docker's schema 2 name them, bare or compressed. */
const IMAGE_LAYER =
  /^application\/(?:vnd\.oci\.image\.layer\.(?:nondistributable\.)?v1\.tar|vnd\.docker\.image\.rootfs\.(?:foreign\.)?diff\.tar)(?:[.+][a-z0-9+]+)?$/;

export function isImageLayerType(mediaType: string): boolean {
  return IMAGE_LAYER.test(mediaType);
}

/** What a converter for a block device snapshotter leaves on each layer, whose media type stays a tar's. */
const OVERLAYBD = "containerd.io/snapshot/overlaybd/blob-digest";

/**
 * @throws Failure UNSUPPORTED_LAYER for a layer that no registry hands out (Windows base layers), for an encrypted one, whose
 * plain bytes only its reader's key can make, and for file systems of other snapshotters, which hold no tar.
 */
export function refuseUnreadable(blob: Descriptor): void {
  const { mediaType, digest, annotations } = blob;
  const why = /\.(?:nondistributable|foreign)\./.test(mediaType)
    ? "is a foreign layer, which is not in the registry but on its vendor's site"
    : mediaType.endsWith("+encrypted")
      ? "is encrypted"
      : mediaType.includes(".nydus.") || annotations?.["containerd.io/snapshot/nydus-blob"] === "true"
        ? "was converted for Nydus, so mount the image that it was made from"
        : annotations?.[OVERLAYBD] !== undefined
          ? "was converted for overlaybd, so mount the image that it was made from"
          : undefined;
  if (why !== undefined)
    throw new Failure(
      "UNIMPLEMENTED",
      "UNSUPPORTED_LAYER",
      `layer ${digest} (${mediaType}) cannot be mounted: it ${why}`,
    );
}
