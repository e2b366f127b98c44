/** kernel: system calls: mounts, the mount table, what this kernel can do; and a fake. */
export type * from "./kernel.ts";
