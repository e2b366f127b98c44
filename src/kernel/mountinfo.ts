import { nameOf } from "#base";
import type { MountEntry } from "./kernel.ts";

/** Reads /proc/<pid>/mountinfo. proc_pid_mountinfo(5). Lines of an unknown shape are left out. */
export function parseMountinfo(bytes: Buffer): readonly MountEntry[] {
  const entries: MountEntry[] = [];
  for (const line of bytes.toString("latin1").split("\n")) {
    const [mount = "", filesystem = ""] = line.split(" - ", 2);
    const [, , device, root, target, options] = mount.split(" ");
    const [type, source, superOptions] = filesystem.split(" ");
    if (device === undefined || root === undefined || target === undefined || type === undefined) continue;
    entries.push({
      target: unescape(target),
      type: unescape(type),
      source: unescape(source ?? ""),
      root: unescape(root),
      options: together(options ?? "", superOptions ?? ""),
      device,
    });
  }
  return entries;
}

/** A mount is writable only where both its own flags and its superblock's say so. */
function together(mount: string, superblock: string): readonly string[] {
  const all = new Set([...mount.split(","), ...superblock.split(",")].filter((option) => option !== "").map(unescape));
  if (all.has("ro")) all.delete("rw");
  return [...all];
}

/** `\040` is a blank: the kernel writes blanks, tabs, newlines, backslashes and `#` so. */
function unescape(field: string): string {
  const raw = field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
  return nameOf(Buffer.from(raw, "latin1"));
}
