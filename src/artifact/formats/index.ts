import type { ArtifactFormat } from "../part.ts";
import { dockerModel } from "./docker-model.ts";
import { flux } from "./flux.ts";
import { generic, oras } from "./generic.ts";
import { helm } from "./helm.ts";
import { homebrew } from "./homebrew.ts";
import { image } from "./image.ts";
import { kitops } from "./kitops.ts";
import { modelpack } from "./modelpack.ts";
import { ollama } from "./ollama.ts";
import { soci } from "./soci.ts";
import { wasm } from "./wasm.ts";

/** Every packaging, asked in this order: what is known by its config before what is known by its layers; the last claims all. */
export const formats: readonly ArtifactFormat[] = [
  soci,
  homebrew,
  image,
  kitops,
  dockerModel,
  helm,
  flux,
  wasm,
  ollama,
  modelpack,
  oras,
  generic,
];
