import { statSync } from "node:fs";
import { resolve } from "node:path";
import { Failure, bytesOf } from "#base";
import type { Kernel, MountEntry, MountFlags } from "./kernel.ts";

const WORDS = { readOnly: "ro", noSuid: "nosuid", noDev: "nodev", noExec: "noexec" } as const;

/**
 * A kernel whose mount table lives in memory: nothing is mounted and no right is needed. Targets, sources, images and devices must
 * exist as they must for the real one. What is below a target is not changed by mounting, so contents cannot be read through it.
 *
 * `erofs: false` is a kernel that cannot mount EROFS from files.
 */
export function fakeKernel(options?: { readonly erofs?: boolean }): Kernel {
  const table: MountEntry[] = [];
  let filesystems = 0;
  const add = (target: string, entry: Omit<MountEntry, "target">) => {
    table.push({ ...entry, target: resolve(target) });
  };
  const covering = (path: string): MountEntry | undefined => {
    const at = resolve(path);
    let found: MountEntry | undefined;
    for (const entry of table)
      if (
        (at === entry.target || at.startsWith(`${entry.target}/`)) &&
        entry.target.length >= (found?.target.length ?? 0)
      )
        found = entry;
    return found;
  };

  return {
    mountErofs({ image, devices, directIo, flags }, target) {
      const what = `the EROFS image ${image} cannot be mounted at ${target}`;
      if (options?.erofs === false)
        throw new Failure("UNIMPLEMENTED", "MOUNT_FAILED", `${what}: no such device (ENODEV)`);
      for (const path of [image, ...devices]) isDirectory(path, what);
      if (!isDirectory(target, what)) throw refused(what, "not a directory (ENOTDIR)");
      add(target, {
        type: "erofs",
        source: resolve(image),
        root: "/",
        options: [...new Set(["ro", ...wordsOf(flags), ...(directIo ? ["directio"] : [])])],
        device: `0:${++filesystems}`,
      });
    },
    bind(source, target, flags) {
      const what = `${source} cannot be bound at ${target}`;
      if (isDirectory(source, what) !== isDirectory(target, what)) throw refused(what, "not a directory (ENOTDIR)");
      const from = covering(source);
      const cleared = new Set(wordsOf(flags, false));
      const kept = (from?.options ?? []).filter(
        (option) => (from?.type === "erofs" && option === "ro") || !cleared.has(option),
      );
      const inside = from === undefined ? resolve(source) : resolve(source).slice(from.target.length);
      add(target, {
        type: from?.type ?? "fake",
        source: from?.source ?? "fake",
        root: from === undefined || from.root === "/" ? inside || "/" : from.root + inside,
        options: [...new Set([...kept, ...wordsOf(flags)])],
        device: from?.device ?? "0:0",
      });
    },
    mountTmpfs(target, _, flags) {
      const what = `a tmpfs cannot be mounted at ${target}`;
      if (!isDirectory(target, what)) throw refused(what, "not a directory (ENOTDIR)");
      add(target, { type: "tmpfs", source: "tmpfs", root: "/", options: wordsOf(flags), device: `0:${++filesystems}` });
    },
    unmount(target) {
      const top = table.findLastIndex((entry) => entry.target === resolve(target));
      if (top < 0) return;
      // A lazy unmount takes what is mounted below along.
      const below = `${resolve(target)}/`;
      for (let i = table.length - 1; i >= top; i--)
        if (i === top || table[i]?.target.startsWith(below) === true) table.splice(i, 1);
    },
    mounts: () => [...table],
  };
}

function wordsOf(flags: MountFlags, value = true): readonly string[] {
  return Object.entries(WORDS).flatMap(([flag, word]) => (flags[flag as keyof MountFlags] === value ? [word] : []));
}

function isDirectory(path: string, what: string): boolean {
  const stat = statSync(bytesOf(path), { throwIfNoEntry: false });
  if (stat === undefined)
    throw new Failure("NOT_FOUND", "MOUNT_FAILED", `${what}: no such file or directory (ENOENT): ${path}`);
  return stat.isDirectory();
}

function refused(what: string, why: string): Failure {
  return new Failure("INTERNAL", "MOUNT_FAILED", `${what}: ${why}`);
}
