import type { PlacedPart } from "./placed-part.ts";

/** What the tree worker is asked to do. Each job builds the tree of the parts anew: that takes milliseconds. */
export type TreeJob = { readonly parts: readonly PlacedPart[]; readonly blobs: string } & (
  | { readonly kind: "encode"; /** The image file to be made, and flushed. */ readonly to: string }
  | { readonly kind: "materialize"; /** The directory to be made. */ readonly to: string }
  | { readonly kind: "list" }
  /** Where a subPath really lies in the tree. */
  | { readonly kind: "lookup"; readonly path: string }
);

/** One name in a tree, as people and programs want to see it. */
export interface TreeRow {
  readonly path: string;
  readonly kind: string;
  readonly mode: string;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly target?: string;
}

export interface TreeAnswer {
  readonly rows?: readonly TreeRow[];
  readonly path?: string;
}

export type FromTreeWorker =
  | { readonly id: number; readonly answer: TreeAnswer }
  | {
      readonly id: number;
      readonly error: { readonly code?: string; readonly reason?: string; readonly message: string };
    };
