import { setTimeout as sleep } from "node:timers/promises";

/** How often to ask again, and how long to wait between. Milliseconds. */
export interface Patience {
  /** Requests in all, the first included. */
  readonly attempts: number;
  readonly base: number;
  readonly cap: number;
}

export const PATIENCE: Patience = { attempts: 6, base: 250, cap: 10_000 };

/** Longer than this nobody waits, even where a registry wants it; the caller is told. Milliseconds. */
export const RETRY_AFTER_LIMIT = 300_000;

const PASSING = new Set([408, 425, 429, 500, 502, 503, 504]);

/** Statuses that speak of now, not of the request. RFC 9110, section 15; RFC 6585, section 4. */
export function isPassing(status: number): boolean {
  return PASSING.has(status);
}

/** Doubling, with full jitter, so that a crowd of nodes does not come back at one moment. `attempt` counts from 1. */
export function pause(attempt: number, { base, cap }: Patience): number {
  return Math.random() * Math.min(cap, base * 2 ** (attempt - 1));
}

/** Seconds or an HTTP date (RFC 9110, section 10.2.3) as milliseconds from now; undefined where it says nothing. */
export function retryAfter(header: string | readonly string[] | undefined): number | undefined {
  const text = typeof header === "string" ? header.trim() : header?.[0]?.trim();
  if (text === undefined || text === "") return undefined;
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now());
}

/** @throws the signal's reason */
export async function wait(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  await sleep(milliseconds, undefined, signal === undefined ? {} : { signal }).catch((error: unknown) => {
    signal?.throwIfAborted();
    throw error;
  });
}
