import { setTimeout as sleep } from "node:timers/promises";
import { messageOf, type Log } from "#base";
import type { CriClient } from "#wire";
import type { SandboxVolumes } from "./sandbox-volumes.ts";

/** Unmounts the volumes of sandboxes that went away while nobody watched, as soon as containerd says which are there. */
export async function reconcile(
  containerd: CriClient,
  volumes: SandboxVolumes,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  for (let wait = 250; !signal.aborted; wait = Math.min(wait * 2, 10_000)) {
    try {
      // In this order: a sandbox made between the two is in neither list's way.
      const had = await volumes.sandboxes();
      if (had.length === 0) return;
      const { items } = await containerd.listPodSandbox({}, { signal, timeout: 30_000 });
      const alive = new Set(items.map(({ id }) => id));
      for (const sandbox of had) {
        if (alive.has(sandbox)) continue;
        await volumes.remove(sandbox);
        log.info({ sandbox }, "unmounted the volumes of a sandbox that is gone");
      }
      return;
    } catch (error) {
      if (signal.aborted) return;
      log.debug({ error: messageOf(error) }, "cannot tell yet which sandboxes are gone");
      await sleep(wait, undefined, { signal }).catch(() => {});
    }
  }
}
