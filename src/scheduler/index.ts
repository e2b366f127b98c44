/** scheduler: gives every Pod without a node one that it fits on. */
export { startScheduler, type SchedulerOptions } from "./scheduler.ts";
