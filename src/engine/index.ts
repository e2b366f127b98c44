/** engine: what every door calls: pull, publish, unpublish, prune. */
export type * from "./engine.ts";
