import { MultiBar, Presets } from "cli-progress";
import type { CallOptions } from "#base";

/** Where a command writes. `err` takes the progress bar and warnings, so that `out` can be piped. */
export interface Streams {
  readonly out: NodeJS.WritableStream;
  readonly err: NodeJS.WritableStream & { readonly isTTY?: boolean };
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

/** 1536 → `1.5 KiB`. */
export function formatBytes(bytes: number): string {
  const power = bytes < 1 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), UNITS.length - 1);
  const value = bytes / 1024 ** power;
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[power]}`;
}

/** 90061000 → `25h`; the largest unit that is not zero, as kubectl prints ages. */
export function formatAge(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 120 * 60) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86400)}d`;
}

/** Columns as wide as their widest cell, three spaces apart, as kubectl prints tables. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths = rows.reduce<number[]>((all, row) => row.map((cell, i) => Math.max(cell.length, all[i] ?? 0)), []);
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join("   ")
      .trimEnd();
  return rows.map((row) => `${line(row)}\n`).join("");
}

/** What is to be waited for: for the registry, where it wants to be left alone, or for the rest to come. */
function leftOf(waitsUntil: number | undefined, rate: number, rest: number): string {
  const wait = Math.ceil(((waitsUntil ?? 0) - Date.now()) / 1000);
  if (wait > 1) return `the registry makes us wait for ${wait}s`;
  return rate > 0 && rest > 0 ? `${Math.ceil(rest / rate)}s left` : "";
}

/**
 * Shows how far a transfer is while `work` runs: one line for all blobs together, on a terminal only.
 * Whatever happens, the line is gone when this returns.
 */
export async function withProgress<T>(
  streams: Streams,
  label: string,
  work: (onProgress: NonNullable<CallOptions["onProgress"]>) => Promise<T>,
): Promise<T> {
  if (streams.err.isTTY !== true) return work(() => {});
  const bars = new MultiBar(
    {
      stream: streams.err,
      clearOnComplete: true,
      hideCursor: true,
      fps: 10,
      etaBuffer: 50,
      format: "{label} [{bar}] {percentage}%  {done}/{all}  {rate}/s  {left}",
      formatTime: (seconds) => `${seconds}s left`,
    },
    Presets.shades_classic,
  );
  const started = Date.now();
  const received = new Map<string, number>();
  const totals = new Map<string, number>();
  const sum = (map: ReadonlyMap<string, number>): number => map.values().reduce((all, n) => all + n, 0);
  let bar: ReturnType<MultiBar["create"]> | undefined;
  try {
    return await work((progress) => {
      received.set(progress.digest, progress.received);
      if (progress.total >= 0) totals.set(progress.digest, progress.total);
      const [done, all] = [sum(received), Math.max(sum(totals), sum(received), 1)];
      const rate = done / Math.max((Date.now() - started) / 1000, 0.001);
      bar ??= bars.create(all, 0, {});
      bar.setTotal(all);
      bar.update(done, {
        label,
        done: formatBytes(done),
        all: formatBytes(all),
        rate: formatBytes(rate),
        left: leftOf(progress.waitsUntil, rate, all - done),
      });
    });
  } finally {
    bars.stop();
  }
}
