/** engine: what every door calls: pull, publish, unpublish, prune. */
export type * from "./engine.ts";
export { referenceOf } from "#layout";
export { createEngine, type EngineOptions } from "./create-engine.ts";
export type { Watermark, Watermarks } from "./watermarks.ts";
