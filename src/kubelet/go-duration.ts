/** Milliseconds as Go prints a Duration: `84ms`, `1.234s`, `1m2.5s`, `2h0m0s`. */
export function goDuration(ms: number): string {
  const whole = Math.trunc(ms);
  if (whole <= 0) return "0s";
  if (whole < 1000) return `${whole}ms`;
  const hours = Math.trunc(whole / 3_600_000);
  const minutes = Math.trunc(whole / 60_000) % 60;
  const seconds = `${Number(((whole % 60_000) / 1000).toFixed(3))}s`;
  if (hours > 0) return `${hours}h${minutes}m${seconds}`;
  return minutes > 0 ? `${minutes}m${seconds}` : seconds;
}

const UNITS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Reads a Go duration. Milliseconds. */
export function milliseconds(duration: string): number {
  let sum = 0;
  for (const [, number, unit = ""] of duration.matchAll(/([0-9.]+)(ns|us|µs|ms|s|m|h)/g))
    sum += Number(number) * (UNITS[unit] ?? 0);
  return sum;
}
