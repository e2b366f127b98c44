import { tooLarge } from "./list-options.ts";
import { EVERY, type Storage } from "./storage.ts";

/** Milliseconds; as long as upstream waits for its cache to catch up. */
const PATIENCE = 3000;

/** Waits until a version has been written that a client knows already. Throws 504 where it does not come in time. */
export async function waitFor(version: number, storage: Storage, signal: AbortSignal): Promise<void> {
  if (version <= storage.version) return;
  const over = Promise.withResolvers<void>();
  const stop = storage.listen(EVERY, () => {
    if (storage.version >= version) over.resolve();
  });
  const timer = setTimeout(over.resolve, PATIENCE);
  signal.addEventListener("abort", () => over.resolve(), { once: true });
  await over.promise;
  clearTimeout(timer);
  stop();
  if (version > storage.version) throw tooLarge(version, storage.version);
}
