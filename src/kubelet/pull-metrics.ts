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

const MIB = 1 << 20;

/** The label `image_size_in_bytes` of an image of this size, as upstream writes it. */
export function sizeClass(size: bigint): string {
  const limits = [10, 100, 500, 1024, 10 * 1024, 20 * 1024, 30 * 1024, 40 * 1024, 60 * 1024, 100 * 1024];
  const names = [
    "0-10MB",
    "10MB-100MB",
    "100MB-500MB",
    "500MB-1GB",
    "1GB-10GB",
    "10GB-20GB",
    "20GB-30GB",
    "30GB-40GB",
    "40GB-60GB",
    "60GB-100GB",
  ];
  const i = limits.findIndex((limit) => Number(size) < limit * MIB);
  return names[i] ?? "GT100GB";
}
