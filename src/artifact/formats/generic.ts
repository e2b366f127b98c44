import type { Descriptor, Manifest } from "#oci";
import { digestPath, modelPath, namedPath, TITLE } from "../file-path.ts";
import { isImageLayerType, refuseUnreadable } from "../layer-type.ts";
import type { ArtifactFormat, Part } from "../part.ts";

const UNPACK = "io.deis.oras.content.unpack";

/**
 * What no other packaging claims, above all what `oras push` makes: a blob with a title is the file of that name, whatever its
 * media type says (ORAS calls every file a tar); one marked to be unpacked is a directory, whose archive repeats the title in
 * front of every name. A blob without a name is unpacked if it is a tar, and else named by its digest.
 */
export const generic: ArtifactFormat = {
  name: "oras",
  claims: () => true,
  plan: (manifest: Manifest) => manifest.layers.map(partOf),
};

export function partOf(blob: Descriptor): Part {
  refuseUnreadable(blob);
  const path = namedPath(blob);
  if (blob.annotations?.[UNPACK] === "true") {
    const title = blob.annotations[TITLE] === undefined ? undefined : path;
    return { kind: "archive", blob, ...(title === undefined || title === "" ? {} : { strip: title, under: title }) };
  }
  if (path !== undefined && path !== "") {
    const isModelArchive = modelPath(blob) !== undefined && isImageLayerType(blob.mediaType);
    return isModelArchive ? { kind: "sniff", blob, path } : { kind: "file", blob, path };
  }
  return { kind: "sniff", blob, path: digestPath(blob) };
}
