/** tree: layers, archives and files merged into one immutable file tree whose data is pointers into blobs. Pure. */
export type * from "./file-tree.ts";
export { addFile, applyArchive, type ArchivePlace, type WholeFile } from "./apply-archive.ts";
export { applyLayer } from "./apply-layer.ts";
export { createTree, finish, type TreeBuilder, type TreeLimits } from "./builder.ts";
export { dumpTree } from "./dump-tree.ts";
export { lookup } from "./lookup.ts";
export type { Resolved } from "./resolve.ts";
export { walk } from "./walk.ts";
