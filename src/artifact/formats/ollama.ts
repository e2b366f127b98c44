import type { Descriptor } from "#oci";
import { namer, type Naming } from "../naming.ts";
import type { ArtifactFormat } from "../part.ts";
import { partOf } from "./generic.ts";

const PREFIX = "application/vnd.ollama.image.";
const is =
  (type: string) =>
  (blob: Descriptor): boolean =>
    blob.mediaType === PREFIX + type;

/** Ollama names no files: these say what each is, after the keywords of its Modelfile. */
const NAMINGS: readonly Naming[] = [
  { name: "model.gguf", is: is("model") },
  { name: "projector.gguf", is: is("projector") },
  { name: "adapter.gguf", is: is("adapter") },
  { name: "draft.gguf", is: is("draft") },
  { name: "embed.bin", is: is("embed") },
  { name: "params.json", is: is("params") },
  { name: "messages.json", is: is("messages") },
  { name: "template", is: is("template") },
  { name: "system", is: is("system") },
  { name: "prompt", is: is("prompt") },
  { name: "license", is: is("license") },
];

/** Ollama models. Tensors and JSON files have a `name` in the descriptor; the others get one by what they are. */
export const ollama: ArtifactFormat = {
  name: "ollama",
  claims: ({ layers }) => layers.some(({ mediaType }) => mediaType.startsWith(PREFIX)),
  plan({ layers }) {
    const nameOf = namer(layers, NAMINGS);
    return layers.flatMap((blob) => {
      const path = nameOf(blob);
      return path === undefined ? partOf(blob) : [{ kind: "file", blob, path }];
    });
  },
};
