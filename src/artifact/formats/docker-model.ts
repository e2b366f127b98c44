import type { Descriptor } from "#oci";
import { digestPath } from "../file-path.ts";
import { attributesOf } from "../file-metadata.ts";
import { namer, type Naming } from "../naming.ts";
import type { ArtifactFormat, Part } from "../part.ts";
import { partOf } from "./generic.ts";

const CONFIG = /^application\/vnd\.docker\.ai\.model\.config\.v0\.\d+\+json$/;
const LAYER = /^application\/vnd\.docker\.ai\.(.+)$/;
const ARCHIVES: readonly string[] = ["vllm.config.tar", "dir.tar"];

const is =
  (...types: readonly string[]) =>
  (blob: Descriptor): boolean =>
    types.includes(LAYER.exec(blob.mediaType)?.[1] ?? blob.mediaType);

/** The names that Docker Model Runner gives the files of a model when it runs one. */
const NAMINGS: readonly Naming[] = [
  { name: "model.gguf", is: is("gguf.v3", "application/vnd.cncf.model.weight.v1.gguf") },
  { name: "model.safetensors", is: is("safetensors", "application/vnd.cncf.model.weight.v1.safetensors") },
  { name: "model.dduf", is: is("dduf") },
  { name: "model.mmproj", is: is("mmproj", "gguf.v3.mmproj") },
  { name: "adapter.gguf", is: is("gguf.v3.lora") },
  { name: "template.jinja", is: is("chat.template.jinja") },
  { name: "LICENSE", is: is("license") },
];

/** Docker Model Runner: version 0.1 names no files, 0.2 names each by `org.cncf.model.filepath`. */
export const dockerModel: ArtifactFormat = {
  name: "docker-model",
  claims: ({ config }) => CONFIG.test(config.mediaType),
  plan({ layers }) {
    const nameOf = namer(layers, NAMINGS);
    return layers.flatMap((blob) => planLayer(blob, nameOf(blob)));
  },
};

function planLayer(blob: Descriptor, path: string | undefined): readonly Part[] {
  const type = LAYER.exec(blob.mediaType)?.[1];
  if (type !== undefined && ARCHIVES.includes(type)) return [{ kind: "sniff", blob, path: path ?? digestPath(blob) }];
  if (path === undefined) return partOf(blob);
  const attributes = attributesOf(blob);
  return [{ kind: "file", blob, path, ...(attributes === undefined ? {} : { attributes }) }];
}
