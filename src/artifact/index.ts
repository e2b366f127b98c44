/** artifact: manifest to parts, one module per packaging. Pure. */
export type * from "./part.ts";
