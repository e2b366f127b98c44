/** tar: bytes to entries. Pure. */
export type * from "./entry.ts";
export { looksLikeTar } from "./header.ts";
export type { TarLimits } from "./limits.ts";
export { readTar } from "./read-tar.ts";
export { TAR_END, tarHeader, tarPadding, type TarHeader } from "./write-header.ts";
