import { readFileSync, readlinkSync } from "node:fs";
import { release } from "node:os";

/** Bits of the capability sets, capabilities(7), in the kernel's order (include/uapi/linux/capability.h). */
const CAPABILITIES = [
  ["CAP_CHOWN", 0],
  ["CAP_DAC_OVERRIDE", 1],
  ["CAP_FOWNER", 3],
  ["CAP_SETUID", 7],
  ["CAP_NET_ADMIN", 12],
  ["CAP_SYS_CHROOT", 18],
  ["CAP_SYS_PTRACE", 19],
  ["CAP_SYS_ADMIN", 21],
  ["CAP_SYS_RESOURCE", 24],
  ["CAP_MKNOD", 27],
  ["CAP_SETFCAP", 31],
] as const;

export type Capability = (typeof CAPABILITIES)[number][0];

/** Whether this process has the capability now (in its effective set). */
export function hasCapability(name: Capability): boolean {
  const line = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"));
  const bit = new Map<string, number>(CAPABILITIES).get(name) ?? 0;
  return ((BigInt(`0x${line?.[1] ?? "0"}`) >> BigInt(bit)) & 1n) === 1n;
}

/** The running kernel's version, `6.18` as [6, 18]. */
export function kernelVersion(text = release()): readonly [major: number, minor: number] {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(text) ?? [];
  return [Number(major ?? 0), Number(minor ?? 0)];
}

/** Whether the kernel knows the filesystem type now. A module that is not loaded yet is not known; a first mount may load it. */
export function supportsFilesystem(name: string): boolean {
  return readFileSync("/proc/filesystems", "utf8")
    .split("\n")
    .some((line) => line.split("\t")[1] === name);
}

/** Whether mounts made here stay unseen by the machine's first process, and so by its container runtime. */
export function mountNamespaceIsPrivate(): boolean {
  try {
    return readlinkSync("/proc/self/ns/mnt") !== readlinkSync("/proc/1/ns/mnt");
  } catch {
    // Whoever may not look into process 1 is in no position to mount for it.
    return true;
  }
}
