import { closeSync, existsSync, openSync, readFileSync, readlinkSync, readSync } from "node:fs";
import { resolve } from "node:path";
import { Failure, bytesOf } from "#base";
import type { ErofsMount, Kernel, MountFlags } from "./kernel.ts";
import { SystemError, cString, failed, libc, syscall } from "./libc.ts";
import { parseMountinfo } from "./mountinfo.ts";

const AT_FDCWD = -100;
const AT_EMPTY_PATH = 0x1000;
const O_CLOEXEC = 0o2000000;
const FSCONFIG = { flag: 0, string: 1, create: 6 } as const;
const OPEN_TREE_CLONE = 1;
const MOVE_MOUNT_F_EMPTY_PATH = 4;
const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;
const MS_REMOUNT = 32;
const MS_BIND = 4096;
const MS_PRIVATE = 1 << 18;

/** Longest string that fsconfig(2) takes, in bytes. */
const FSCONFIG_LIMIT = 255;

const fsopen = syscall(430, "void *", "uint");
const fsconfig = syscall(431, "int", "uint", "void *", "void *", "int");
const fsmount = syscall(432, "int", "uint", "uint");
const moveMount = syscall(429, "int", "void *", "int", "void *", "uint");
const openTree = syscall(428, "int", "void *", "uint");
const mountSetattr = syscall(442, "int", "void *", "uint", "void *", "size_t");
const mount = libc("mount", "int", "void *", "void *", "void *", "unsigned long", "void *");
const umount2 = libc("umount2", "int", "void *", "int");

/**
 * This machine's kernel.
 *
 * `mountApi: "classic"` keeps to mount(2) for binds, which is what Linux before 5.12 has: the flags then come a moment after the
 * mount. Left out, the newer calls are used where the kernel has them.
 */
export function linuxKernel(options?: { readonly mountApi?: "classic" }): Kernel {
  return {
    mountErofs,
    bind(source, target, flags) {
      if (options?.mountApi === "classic" || !bindAtOnce(source, target, flags)) bindClassic(source, target, flags);
    },
    mountTmpfs,
    unmount(target) {
      try {
        umount2(cString(target), MNT_DETACH | UMOUNT_NOFOLLOW);
      } catch (error) {
        if (error instanceof SystemError && (error.code === "EINVAL" || error.code === "ENOENT")) return;
        throw failed("UNMOUNT_FAILED", `${target} cannot be unmounted`, error);
      }
    },
    mounts: () => parseMountinfo(readFileSync("/proc/self/mountinfo")),
  };
}

/** One string per fsconfig(2) call, so that the devices' number is not bound by mount(2)'s one page of options. */
function mountErofs(erofs: ErofsMount, target: string): void {
  const what = `the EROFS image ${erofs.image} cannot be mounted at ${target}`;
  using fds = new Descriptors();
  let context = -1;
  try {
    context = fds.own(fsopen(cString("erofs"), 1));
    const set = (key: string, path: string) => {
      const value = bytesOf(path).length <= FSCONFIG_LIMIT ? path : `/proc/self/fd/${fds.own(openSync(path, "r"))}`;
      fsconfig(context, FSCONFIG.string, cString(key), cString(value), 0);
    };
    fsconfig(context, FSCONFIG.flag, cString("ro"), null, 0);
    set("source", resolve(erofs.image));
    for (const device of erofs.devices) set("device", resolve(device));
    if (erofs.directIo) fsconfig(context, FSCONFIG.flag, cString("directio"), null, 0);
    fsconfig(context, FSCONFIG.create, null, null, 0);
    const mounted = fds.own(fsmount(context, 1, attributesOf(erofs.flags)));
    moveMount(mounted, cString(""), AT_FDCWD, cString(target), MOVE_MOUNT_F_EMPTY_PATH);
  } catch (error) {
    if (error instanceof SystemError)
      throw failed(
        "MOUNT_FAILED",
        what,
        error,
        logOf(context) || adviceFor(error, [erofs.image, ...erofs.devices, target]),
      );
    throw new Failure("NOT_FOUND", "MOUNT_FAILED", `${what}: ${String(error)}`, { cause: error });
  }
}

/** False where the kernel has no such calls. */
function bindAtOnce(source: string, target: string, flags: MountFlags): boolean {
  using fds = new Descriptors();
  try {
    const tree = fds.own(openTree(AT_FDCWD, cString(source), OPEN_TREE_CLONE | O_CLOEXEC));
    const attr = Buffer.alloc(32);
    attr.writeBigUInt64LE(BigInt(attributesOf(flags)), 0);
    attr.writeBigUInt64LE(BigInt(attributesOf(flags, false)), 8);
    attr.writeBigUInt64LE(BigInt(MS_PRIVATE), 16);
    mountSetattr(tree, cString(""), AT_EMPTY_PATH, attr, attr.length);
    moveMount(tree, cString(""), AT_FDCWD, cString(target), MOVE_MOUNT_F_EMPTY_PATH);
    return true;
  } catch (error) {
    if (error instanceof SystemError && error.code === "ENOSYS") return false;
    throw failed("MOUNT_FAILED", `${source} cannot be bound at ${target}`, error);
  }
}

function bindClassic(source: string, target: string, flags: MountFlags): void {
  const what = `${source} cannot be bound at ${target}`;
  const before = optionsAt(source);
  try {
    mount(cString(source), cString(target), null, MS_BIND, null);
  } catch (error) {
    throw failed("MOUNT_FAILED", what, error);
  }
  try {
    mount(null, cString(target), null, MS_PRIVATE, null);
    // A remount replaces all flags, so what the source has and nobody asked to change must be said again.
    const kept: MountFlags = {
      readOnly: before.has("ro"),
      noSuid: before.has("nosuid"),
      noDev: before.has("nodev"),
      noExec: before.has("noexec"),
    };
    mount(null, cString(target), null, MS_BIND | MS_REMOUNT | attributesOf({ ...kept, ...flags }), null);
  } catch (error) {
    umount2(cString(target), MNT_DETACH | UMOUNT_NOFOLLOW);
    throw failed("MOUNT_FAILED", what, error);
  }
}

function mountTmpfs(
  target: string,
  options: { readonly sizeBytes?: number; readonly mode?: number },
  flags: MountFlags,
): void {
  const data = [
    ...(options.sizeBytes === undefined ? [] : [`size=${options.sizeBytes}`]),
    ...(options.mode === undefined ? [] : [`mode=${options.mode.toString(8)}`]),
  ].join(",");
  try {
    mount(cString("tmpfs"), cString(target), cString("tmpfs"), attributesOf(flags), cString(data));
  } catch (error) {
    throw failed("MOUNT_FAILED", `a tmpfs cannot be mounted at ${target}`, error);
  }
}

/** MOUNT_ATTR_* of the flags that are `value`. MS_RDONLY, MS_NOSUID, MS_NODEV and MS_NOEXEC are the same bits. */
function attributesOf(flags: MountFlags, value = true): number {
  return (
    (flags.readOnly === value ? 1 : 0) |
    (flags.noSuid === value ? 2 : 0) |
    (flags.noDev === value ? 4 : 0) |
    (flags.noExec === value ? 8 : 0)
  );
}

/** The options of the mount that `path` lies on. */
function optionsAt(path: string): ReadonlySet<string> {
  // An open file's name in /proc says nothing of where the file lies.
  const absolute = path.startsWith("/proc/self/fd/") ? readlinkSync(path) : resolve(path);
  const covers = (target: string) => target === "/" || absolute === target || absolute.startsWith(`${target}/`);
  const mounts = parseMountinfo(readFileSync("/proc/self/mountinfo")).filter((entry) => covers(entry.target));
  const longest = Math.max(0, ...mounts.map((entry) => entry.target.length));
  return new Set(mounts.findLast((entry) => entry.target.length === longest)?.options);
}

function adviceFor(error: SystemError, paths: readonly string[]): string {
  const missing = error.code === "ENOENT" ? paths.find((path) => !existsSync(bytesOf(path))) : undefined;
  if (missing !== undefined) return missing;
  if (error.code === "ENOTBLK")
    return "the kernel mounts EROFS from files since Linux 6.12, and from files on a disk (not tmpfs, not overlayfs)";
  if (error.code === "ENODEV") return "the kernel has no EROFS; load the module `erofs`";
  return error.code === "EINVAL" ? "the kernel does not accept it as EROFS; its log (dmesg) says why" : "";
}

/** What the filesystem wrote into its context's log, newest last: one message per read. fsopen(2) */
function logOf(context: number): string {
  const lines: string[] = [];
  const line = Buffer.alloc(4096);
  if (context < 0) return "";
  try {
    for (;;) {
      const length = readSync(context, line);
      lines.push(
        line
          .toString("utf8", 0, length)
          .replace(/^[ewi] /, "")
          .trim(),
      );
    }
  } catch {
    // ENODATA ends the log.
  }
  return lines.join("; ");
}

class Descriptors implements Disposable {
  readonly #fds: number[] = [];

  own(fd: number): number {
    this.#fds.push(fd);
    return fd;
  }

  [Symbol.dispose](): void {
    for (const fd of this.#fds) closeSync(fd);
  }
}
