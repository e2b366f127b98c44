import type { Runtime } from "./cri.ts";

/** How far a pull is. Bytes; `total` is 0 where it is not known. */
export interface PullProgress {
  readonly received: number;
  readonly total: number;
}

/**
 * The key under which a runtime that knows how far a pull is tells it, as JSON, in the `info` of a verbose ImageStatus of the
 * image that is being pulled. CRI has no call for it; one that does not know leaves it out.
 */
export const PROGRESS_INFO = "orlop.dev/progress";

export async function askProgress(
  runtime: Runtime,
  image: NonNullable<Parameters<Runtime["imageStatus"]>[0]["image"]>,
): Promise<PullProgress | undefined> {
  try {
    const { info } = await runtime.imageStatus({ image, verbose: true }, { timeout: 5000 });
    const { received, total } = JSON.parse(info[PROGRESS_INFO] ?? "{}") as Partial<PullProgress>;
    return typeof received === "number" ? { received, total: total ?? 0 } : undefined;
  } catch {
    // A runtime that cannot say is no failure of the pull.
    return undefined;
  }
}

/** `1.2 GiB of 3.0 GiB (40 %), 120.0 MiB/s, 15s left`; the rate is that since the look before. */
export function describeProgress(now: PullProgress, before: PullProgress | undefined, elapsedMs: number): string {
  const parts = [
    now.total > 0
      ? `${bytes(now.received)} of ${bytes(now.total)} (${Math.floor((now.received / now.total) * 100)} %)`
      : bytes(now.received),
  ];
  const rate = elapsedMs > 0 ? ((now.received - (before?.received ?? 0)) * 1000) / elapsedMs : 0;
  if (rate > 0) parts.push(`${bytes(rate)}/s`);
  if (rate > 0 && now.total > now.received) parts.push(`${duration((now.total - now.received) / rate)} left`);
  return parts.join(", ");
}

function bytes(count: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

function duration(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m${whole % 60}s`;
  return `${Math.floor(whole / 3600)}h${Math.floor((whole % 3600) / 60)}m`;
}
