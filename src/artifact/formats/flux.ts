import { digestPath } from "../file-path.ts";
import { namer } from "../naming.ts";
import type { ArtifactFormat } from "../part.ts";
import { partOf } from "./generic.ts";

const CONFIG = "application/vnd.cncf.flux.config.v1+json";
const CONTENT = /^application\/vnd\.cncf\.flux\.content\.v1(?:\.([a-z0-9+.-]+))?$/;

/** Flux artifacts: a directory as an archive, or one static file, which gets the name `content` and its type's extension. */
export const flux: ArtifactFormat = {
  name: "flux",
  claims: ({ config }) => config.mediaType === CONFIG,
  plan({ layers }) {
    const first = layers.find(({ mediaType }) => CONTENT.test(mediaType))?.mediaType ?? "";
    const nameOf = namer(layers, [
      { name: extensionOf(CONTENT.exec(first)?.[1]), is: ({ mediaType }) => mediaType === first },
    ]);
    return layers.flatMap((blob) => {
      if (!CONTENT.test(blob.mediaType)) return partOf(blob);
      return [{ kind: "sniff", blob, path: nameOf(blob) ?? digestPath(blob) }];
    });
  },
};

function extensionOf(suffix: string | undefined): string {
  if (suffix === undefined) return "content";
  return `content.${suffix.replace("+gzip", ".gz").replace("+zstd", ".zst").replaceAll("+", ".")}`;
}
