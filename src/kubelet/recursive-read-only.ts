import { Failure } from "#base";
import type { VolumeMount } from "#k8s";

/**
 * Whether what is mounted below a mount shall be read-only too. `isSupported`: the runtime can do that, or nothing is mounted
 * below.
 *
 * @throws Failure where it cannot be had and must be, in upstream's words
 */
export function isRecursivelyReadOnly(mount: VolumeMount, isSupported: boolean): boolean {
  const { recursiveReadOnly } = mount as { readonly recursiveReadOnly?: string };
  if (recursiveReadOnly === "IfPossible") return isSupported;
  if (recursiveReadOnly !== "Enabled") return false;
  if (isSupported) return true;
  const what = `volume ${JSON.stringify(mount.name)} requested recursive read-only mode`;
  throw new Failure("FAILED_PRECONDITION", "NO_RECURSIVE_READ_ONLY", `${what}, but it is not supported by the runtime`);
}
