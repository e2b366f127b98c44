import { MEDIA, type Descriptor, type Manifest } from "#oci";
import { digestPath, namedPath, TITLE } from "../file-path.ts";
import { refuseUnreadable } from "../layer-type.ts";
import type { ArtifactFormat, Part } from "../part.ts";

const UNPACK = "io.deis.oras.content.unpack";

/** What `oras push` makes, and all who follow it: blobs with titles. */
export const oras: ArtifactFormat = {
  name: "oras",
  claims: ({ layers }) => layers.some(({ annotations }) => annotations?.[TITLE] !== undefined),
  plan: planGeneric,
};

/** Everything else: blobs that nobody named. */
export const generic: ArtifactFormat = { name: "generic", claims: () => true, plan: planGeneric };

function planGeneric({ layers }: Manifest): readonly Part[] {
  return layers.flatMap(partOf);
}

/**
 * A blob with a name is the file of that name, whatever its media type says (ORAS calls every file a tar); one marked to be
 * unpacked is a directory, whose archive repeats the title in front of every name. A blob without a name is unpacked if it is a
 * tar, and else named by its digest. image-spec's empty blob stands for nothing.
 */
export function partOf(blob: Descriptor): readonly Part[] {
  refuseUnreadable(blob);
  const path = namedPath(blob);
  if (blob.annotations?.[UNPACK] === "true")
    return [{ kind: "archive", blob, ...(path === undefined ? {} : { strip: path, under: path }) }];
  if (path !== undefined) return [{ kind: "file", blob, path }];
  if (blob.mediaType === MEDIA.empty) return [];
  return [{ kind: "sniff", blob, path: digestPath(blob) }];
}
