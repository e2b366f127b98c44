/** tree: layers, archives and files merged into one immutable file tree whose data is pointers into blobs. Pure. */
export type * from "./file-tree.ts";
