import { Failure } from "#base";

export interface PullLimits {
  /** Waits for a free place; call what it returns when the pull is over. Rejects when aborted. */
  acquire(signal: AbortSignal): Promise<() => void>;
  /**
   * Counts one pull against the rate. A pull over it does not wait: it fails, and its back-off brings it again.
   *
   * @throws Failure PULL_QPS_EXCEEDED
   */
  spend(): void;
}

export interface PullLimitOptions {
  /** 0: as many as are asked for. */
  readonly maxParallel: number;
  /** Pulls per second in the long run; 0: any. */
  readonly qps: number;
  /** Pulls at once before the rate counts. */
  readonly burst: number;
}

export function createPullLimits({ maxParallel, qps, burst }: PullLimitOptions): PullLimits {
  const waiting: (() => void)[] = [];
  let free = maxParallel > 0 ? maxParallel : Number.POSITIVE_INFINITY;
  let tokens = burst;
  let at = performance.now();

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
      let left = false;
      return () => {
        if (!left) leave();
        left = true;
      };
    },
    spend() {
      if (qps <= 0) return;
      const now = performance.now();
      tokens = Math.min(burst, tokens + ((now - at) * qps) / 1000);
      at = now;
      if (tokens < 1) throw new Failure("RESOURCE_EXHAUSTED", "PULL_QPS_EXCEEDED", "pull QPS exceeded");
      tokens--;
    },
  };
}
