/** engine: what every door calls: pull, publish, unpublish, prune. */
export type * from "./engine.ts";
export { referenceOf } from "#layout";
export { createEngine, type EngineOptions } from "./create-engine.ts";
export { checkWatermarks, type Watermark, type Watermarks } from "./watermarks.ts";
