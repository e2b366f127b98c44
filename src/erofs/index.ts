/** erofs: a file tree as an EROFS image whose data stays in the blobs. Pure. */
export { decodeErofs, type DecodedImage } from "./decode.ts";
export { readDevices, type ImageDevice } from "./devices.ts";
export { encodeErofs, type EncodedImage } from "./encode.ts";
export type { BlobFacts } from "./file-data.ts";
export { sampleImage, type SampleImage } from "./sample.ts";
