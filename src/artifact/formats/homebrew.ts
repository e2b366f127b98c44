import type { ArtifactFormat } from "../part.ts";
import { image, isImage } from "./image.ts";

/** Homebrew bottles: images whose one layer is titled like a file and is a real layer nevertheless. */
export const homebrew: ArtifactFormat = {
  name: "homebrew",
  claims: (manifest) => isImage(manifest) && manifest.annotations?.["com.github.package.type"] === "homebrew_bottle",
  plan: (manifest, config) => image.plan(manifest, config),
};
