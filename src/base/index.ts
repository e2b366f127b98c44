/** base: what every room stands on: errors, names, progress. It knows no domain. */
export { CODES, Failure, errnoOf, isFailure, messageOf, type Code } from "./failure.ts";
export { bytesOf, nameOf } from "./names.ts";
export type { CallOptions, Progress } from "./progress.ts";
export { silent, type Log } from "./log.ts";
