import type { Descriptor } from "#oci";
import { digestPath, namedPath } from "../file-path.ts";
import { attributesOf } from "../file-metadata.ts";
import type { ArtifactFormat, Part } from "../part.ts";
import { partOf } from "./generic.ts";

const TYPE = /^application\/vnd\.(?:cncf|cnai)\.model\./;
const LAYER = /^application\/vnd\.(?:cncf|cnai)\.model\..+\.v1\.(raw|tar)(\+gzip|\+zstd)?$/;
/** KitOps packs its Kitfile into the ModelPacks that it makes. */
const KITFILE = "application/vnd.kitops.modelkit.config.v1+json";

/**
 * CNCF ModelPack (model-spec, docs/spec.md) and CNAI, its name before. Known by any of its media types, since registries drop the
 * artifact type. A raw layer is the file that its path annotation names; a tar's own names count, relative to the root.
 */
export const modelpack: ArtifactFormat = {
  name: "modelpack",
  claims: ({ artifactType, config, layers }) =>
    TYPE.test(artifactType ?? "") || TYPE.test(config.mediaType) || layers.some((layer) => TYPE.test(layer.mediaType)),
  plan: ({ layers }) => layers.flatMap(planLayer),
};

function planLayer(blob: Descriptor): readonly Part[] {
  if (blob.mediaType === KITFILE) return [{ kind: "file", blob, path: namedPath(blob) ?? "Kitfile" }];
  const [, packing, compression] = LAYER.exec(blob.mediaType) ?? [];
  if (packing === undefined && !TYPE.test(blob.mediaType)) return partOf(blob);
  const path = namedPath(blob) ?? digestPath(blob);
  return [packing === "tar" ? { kind: "sniff", blob, path } : rawPart(blob, path, compression)];
}

/** A file as it is, or inflated where its media type says that it was compressed. */
export function rawPart(blob: Descriptor, path: string, compression: string | undefined): Part {
  const attributes = attributesOf(blob);
  return {
    kind: "file",
    blob,
    path,
    ...(attributes === undefined ? {} : { attributes }),
    ...(compression === undefined ? {} : { inflate: true }),
  };
}
