import { type Log, messageOf } from "#base";
import type { Runtime } from "./cri.ts";

/** Of the handler that all Pods have. Runtimes before containerd 2.0 do not say, and cannot. */
export async function supportsRecursiveReadOnly(runtime: Runtime): Promise<boolean> {
  const { runtimeHandlers } = await runtime.status({}, { timeout: 30_000 });
  return runtimeHandlers?.some(({ name, features }) => name === "" && features?.recursiveReadOnlyMounts) ?? false;
}

/** Runtimes before containerd 2.0 do not say; then it is cgroupfs, their default. */
export async function cgroupDriver(runtime: Runtime, log: Log): Promise<"cgroupfs" | "systemd"> {
  try {
    const { linux } = await runtime.runtimeConfig({}, { timeout: 10_000 });
    return linux?.cgroupDriver === 0 ? "systemd" : "cgroupfs";
  } catch (error) {
    log.debug({ error: messageOf(error) }, "runtime does not say its cgroup driver");
    return "cgroupfs";
  }
}
