import { SystemError, cString, failed, libc } from "./libc.ts";
import { nameOf } from "#base";

const TYPES = { char: 0o020000, block: 0o060000, fifo: 0o010000, socket: 0o140000 } as const;

const mknod = libc("mknod", "int", "void *", "uint", "uint64_t");
const utimensat = libc("utimensat", "int", "int", "void *", "void *", "int");
const lsetxattr = libc("lsetxattr", "int", "void *", "void *", "void *", "size_t", "int");
const lgetxattr = libc("lgetxattr", "long", "void *", "void *", "void *", "size_t");
const llistxattr = libc("llistxattr", "long", "void *", "void *", "size_t");

const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;

/** XATTR_SIZE_MAX and XATTR_LIST_MAX: more Linux does not give. */
const XATTR_LIMIT = 65536;

/**
 * Makes a device node, fifo or socket. `mode` is subject to the umask. mknod(2)
 *
 * @throws Failure MKNOD_FAILED
 */
export function makeNode(
  path: string,
  kind: keyof typeof TYPES,
  mode: number,
  device: { readonly major: number; readonly minor: number } = { major: 0, minor: 0 },
): void {
  const { major, minor } = device;
  // glibc's dev_t: 32 bits of each number, interleaved.
  const number =
    (BigInt(major & 0xfffff000) << 32n) |
    (BigInt(major & 0xfff) << 8n) |
    (BigInt(minor & 0xffffff00) << 12n) |
    BigInt(minor & 0xff);
  try {
    mknod(cString(path), TYPES[kind] | mode, number);
  } catch (error) {
    throw failed("MKNOD_FAILED", `the ${kind} ${path} cannot be made`, error);
  }
}

/**
 * Sets the access and modification time of what is at `path`, a link itself included, to the nanosecond. utimensat(2)
 *
 * @throws Failure SET_TIMES_FAILED
 */
export function setTimes(path: string, time: { readonly seconds: number; readonly nanoseconds: number }): void {
  const times = Buffer.alloc(32);
  for (const at of [0, 16]) {
    times.writeBigInt64LE(BigInt(time.seconds), at);
    times.writeBigInt64LE(BigInt(time.nanoseconds), at + 8);
  }
  try {
    utimensat(AT_FDCWD, cString(path), times, AT_SYMLINK_NOFOLLOW);
  } catch (error) {
    throw failed("SET_TIMES_FAILED", `the time of ${path} cannot be set`, error);
  }
}

/**
 * Sets one extended attribute of what is at `path`, a link itself included. False where the filesystem has no such attributes, and
 * for a user's attributes of what is neither file nor directory, which Linux does not allow (xattr(7)).
 *
 * @throws Failure XATTR_FAILED
 */
export function setXattr(path: string, name: string, value: Uint8Array): boolean {
  try {
    lsetxattr(cString(path), cString(name), value, value.length, 0);
    return true;
  } catch (error) {
    const code = error instanceof SystemError ? error.code : "";
    if (code === "ENOTSUP" || (code === "EPERM" && name.startsWith("user."))) return false;
    throw failed("XATTR_FAILED", `the attribute ${name} of ${path} cannot be set`, error);
  }
}

/** The extended attributes of what is at `path`, a link itself included; empty where the filesystem has none. */
export function getXattrs(path: string): ReadonlyMap<string, Uint8Array> {
  const found = new Map<string, Uint8Array>();
  const at = cString(path);
  const into = Buffer.alloc(XATTR_LIMIT);
  try {
    for (const name of names(Buffer.from(into.subarray(0, llistxattr(at, into, into.length))))) {
      const length = readXattr(at, name, into);
      if (length >= 0) found.set(name, Uint8Array.from(into.subarray(0, length)));
    }
    return found;
  } catch (error) {
    if (error instanceof SystemError && error.code === "ENOTSUP") return found;
    throw failed("XATTR_FAILED", `the attributes of ${path} cannot be read`, error);
  }
}

/** -1 where it is listed and not shown: Linux does so with a user's attributes of what is neither file nor directory. */
function readXattr(path: Buffer, name: string, into: Buffer): number {
  try {
    return lgetxattr(path, cString(name), into, into.length);
  } catch (error) {
    if (error instanceof SystemError && error.code === "ENODATA") return -1;
    throw error;
  }
}

/** Names end with a NUL each. */
function names(list: Buffer): string[] {
  const found: string[] = [];
  for (let from = 0; from < list.length;) {
    const end = list.indexOf(0, from);
    found.push(nameOf(list.subarray(from, end)));
    from = end + 1;
  }
  return found;
}
