import { setTimeout as sleep } from "node:timers/promises";
import { type Log, messageOf } from "#base";

/** Runs `work` now and then until disposed; a failure is logged and the next run comes all the same. */
export function repeat(everyMs: number, log: Log, name: string, work: () => Promise<void>): AsyncDisposable {
  const stop = new AbortController();
  const run = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      await sleep(everyMs, undefined, { signal: stop.signal }).catch(() => undefined);
      if (stop.signal.aborted) return;
      await work().catch((error: unknown) => log.warn({ error: messageOf(error) }, `${name} failed`));
    }
  };
  const running = run();
  return {
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}
