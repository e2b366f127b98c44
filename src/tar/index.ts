/** tar: bytes to entries. Pure. */
export type * from "./entry.ts";
