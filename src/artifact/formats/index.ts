import type { ArtifactFormat } from "../part.ts";
import { generic } from "./generic.ts";
import { image } from "./image.ts";
import { soci } from "./soci.ts";

/** Every packaging, asked in this order; the last one claims everything. */
export const formats: readonly ArtifactFormat[] = [soci, image, generic];
