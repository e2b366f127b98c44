import { setTimeout as sleep } from "node:timers/promises";

export interface PullLimits {
  /** Waits for a free place and for the rate; call what it returns when the pull is over. Rejects when aborted. */
  acquire(signal: AbortSignal): Promise<() => void>;
}

export interface PullLimitOptions {
  /** 0: as many as are asked for. */
  readonly maxParallel: number;
  /** Pulls per second in the long run; 0: any. */
  readonly qps: number;
  /** Pulls at once before the rate counts. */
  readonly burst: number;
}

/** A pull over the limits waits its turn; it does not fail. */
export function createPullLimits({ maxParallel, qps, burst }: PullLimitOptions): PullLimits {
  const waiting: (() => void)[] = [];
  let free = maxParallel > 0 ? maxParallel : Number.POSITIVE_INFINITY;
  let tokens = burst;
  let at = performance.now();

  const token = (): number => {
    if (qps <= 0) return 0;
    const now = performance.now();
    tokens = Math.min(burst, tokens + ((now - at) * qps) / 1000) - 1;
    at = now;
    return tokens >= 0 ? 0 : (-tokens * 1000) / qps;
  };
  const leave = (): void => {
    const next = waiting.shift();
    // The place is handed on: nobody who comes later may take it first.
    if (next) next();
    else free++;
  };

  return {
    async acquire(signal) {
      signal.throwIfAborted();
      if (free > 0) free--;
      else {
        const turn = Promise.withResolvers<void>();
        const abort = (): void => {
          const i = waiting.indexOf(turn.resolve);
          if (i >= 0) waiting.splice(i, 1);
          turn.reject(signal.reason as Error);
        };
        waiting.push(turn.resolve);
        signal.addEventListener("abort", abort, { once: true });
        await turn.promise.finally(() => signal.removeEventListener("abort", abort));
      }
      try {
        const wait = token();
        if (wait > 0) await sleep(wait, undefined, { signal });
      } catch (error) {
        leave();
        throw error;
      }
      let left = false;
      return () => {
        if (!left) leave();
        left = true;
      };
    },
  };
}
