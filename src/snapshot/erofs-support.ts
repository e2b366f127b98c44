import { sampleImage } from "#erofs";
import { probeErofs, type ErofsSupport, type Kernel } from "#kernel";
import type { Store } from "#store";

/** Whether this kernel can mount EROFS images whose files lie in the store: found out by trying, in milliseconds. */
export async function erofsSupport(kernel: Kernel, store: Store): Promise<ErofsSupport> {
  await using place = await store.workplace("probe");
  place.discard();
  // Whoever was killed while probing has left its mount.
  for (const { target } of kernel.mounts().toReversed())
    if (target.startsWith(`${place.path}/`)) kernel.unmount(target);
  return await probeErofs(kernel, place.path, sampleImage());
}
