/** kernel: system calls: mounts, the mount table, what this kernel can do; and a fake. */
export type * from "./kernel.ts";
export { fakeKernel } from "./fake-kernel.ts";
export { fallocate, syncfs, tryLock } from "./files.ts";
export { linuxKernel } from "./linux-kernel.ts";
export { hasCapability, kernelVersion, mountNamespaceIsPrivate, supportsFilesystem } from "./machine.ts";
export { openBeneath } from "./open-beneath.ts";
export { getXattrs, makeNode, setTimes, setXattr } from "./nodes.ts";
export { probeErofs } from "./probe.ts";
