/** erofs: a file tree as an EROFS image whose data stays in the blobs. Pure. */
export { decodeErofs } from "./decode.ts";
export { readDevices } from "./devices.ts";
export { encodeErofs } from "./encode.ts";
export { sampleImage } from "./sample.ts";
