import type { Metrics } from "./metrics.ts";
import type { PullProgress } from "./pull-progress.ts";

/** What the metrics say of a pull under way. `rate` in bytes per second. */
export function countPull(metrics: Metrics, image: string, progress: PullProgress, rate: number): void {
  metrics.pullReceived.set({ image }, progress.received);
  metrics.pullTotal.set({ image }, progress.total);
  metrics.pullRate.set({ image }, rate);
  for (const { digest, received, total } of progress.blobs ?? []) {
    metrics.blobReceived.set({ image, digest }, received);
    metrics.blobTotal.set({ image, digest }, total);
  }
}

/** Of a pull that is over they say nothing. */
export function forgetPull(metrics: Metrics, image: string, last: PullProgress | undefined): void {
  for (const gauge of [metrics.pullReceived, metrics.pullTotal, metrics.pullRate]) gauge.remove({ image });
  for (const { digest } of last?.blobs ?? [])
    for (const gauge of [metrics.blobReceived, metrics.blobTotal]) gauge.remove({ image, digest });
}
