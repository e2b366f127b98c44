/** artifact: manifest to parts, one module per packaging. Pure. */
export type * from "./part.ts";
export { formats } from "./formats/index.ts";
export { isImage } from "./formats/image.ts";
export { planParts } from "./plan-parts.ts";
