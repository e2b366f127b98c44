import type { Runtime } from "./cri.ts";

/** How far a pull is. Bytes; `total` is 0 where it is not known. */
export interface PullProgress {
  readonly received: number;
  readonly total: number;
  /** The same of each blob, where the runtime tells. */
  readonly blobs?: readonly { readonly digest: string; readonly received: number; readonly total: number }[];
  /** Nothing comes before this, as the registry wants to be left alone. Milliseconds since the epoch. */
  readonly waitsUntil?: number;
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
    const told = JSON.parse(info[PROGRESS_INFO] ?? "{}") as Partial<PullProgress>;
    const { received, total = 0 } = told;
    return typeof received === "number" ? { ...told, received, total } : undefined;
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
  const rate = bytesPerSecond(now, before, elapsedMs);
  if (rate > 0) parts.push(`${bytes(rate)}/s`);
  if (rate > 0 && now.total > now.received) parts.push(`${duration((now.total - now.received) / rate)} left`);
  const wait = Math.ceil(((now.waitsUntil ?? 0) - Date.now()) / 1000);
  if (wait > 0) parts.push(`the registry makes us wait for ${duration(wait)}`);
  return parts.join(", ");
}

export function bytesPerSecond(now: PullProgress, before: PullProgress | undefined, elapsedMs: number): number {
  return elapsedMs > 0 ? ((now.received - (before?.received ?? 0)) * 1000) / elapsedMs : 0;
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
