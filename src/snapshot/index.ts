/** snapshot: the parts of a manifest merged into one tree, encoded, and mounted. */
export { erofsSupport } from "./erofs-support.ts";
export { Mounter, type MounterOptions, type MountRequest } from "./mounter.ts";
export { placeParts, type PlacedPart } from "./placed-part.ts";
export { Snapshots, type SnapshotForm } from "./snapshots.ts";
export type { TreeRow } from "./tree-job.ts";
