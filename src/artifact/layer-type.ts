import { Failure } from "#base";
import type { Descriptor } from "#oci";

/** Media types of image layers, as image-spec (layer.md) and Docker's schema 2 name them, bare or compressed. */
const IMAGE_LAYER =
  /^application\/(?:vnd\.oci\.image\.layer\.(?:nondistributable\.)?v1\.tar|vnd\.docker\.image\.rootfs\.(?:foreign\.)?diff\.tar)(?:[.+][a-z0-9+]+)?$/;

export function isImageLayerType(mediaType: string): boolean {
  return IMAGE_LAYER.test(mediaType);
}

/**
 * @throws Failure UNSUPPORTED_LAYER for a layer that no registry hands out (Windows base layers), and for an encrypted one,
 * whose plain bytes only its reader's key can make.
 */
export function refuseUnreadable(blob: Descriptor): void {
  const { mediaType, digest } = blob;
  const why = /\.(?:nondistributable|foreign)\./.test(mediaType)
    ? "is a foreign layer, which is not in the registry but on its vendor's site"
    : mediaType.endsWith("+encrypted")
      ? "is encrypted"
      : undefined;
  if (why !== undefined)
    throw new Failure(
      "UNIMPLEMENTED",
      "UNSUPPORTED_LAYER",
      `layer ${digest} (${mediaType}) cannot be mounted: it ${why}`,
    );
}
