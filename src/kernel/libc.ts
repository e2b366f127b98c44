import { createRequire } from "node:module";
import { getSystemErrorMap } from "node:util";
import { Failure, bytesOf, type Code } from "#base";

/** One call into libc, by symbol and C types. Returns what C returned; throws {@link SystemError} where that is negative. */
export type Call = (...args: readonly unknown[]) => number;

/** Errors that Node has no name for. errno(3) */
const UNNAMED: Readonly<Record<number, readonly [string, string]>> = {
  15: ["ENOTBLK", "block device required"],
  117: ["EUCLEAN", "structure needs cleaning"],
  122: ["EDQUOT", "disk quota exceeded"],
};

/** The errno of a failed call, by name (`EBUSY`), and the kernel's words for it. */
export class SystemError extends Error {
  readonly code: string;

  constructor(errno: number) {
    const [code, text] = getSystemErrorMap().get(-errno) ?? UNNAMED[errno] ?? [`errno ${errno}`, "unknown error"];
    super(text);
    this.name = "SystemError";
    this.code = code;
  }
}

type Koffi = typeof import("koffi");

const require = createRequire(import.meta.url);
/** Loaded at the first call of all: who never mounts never loads it. */
let loaded: { readonly koffi: Koffi; readonly library: ReturnType<Koffi["load"]> } | undefined;

/**
 * Finds `symbol` in the libc that Node itself runs on (glibc or musl), at its first call.
 *
 * `types` are the C types of the result and the arguments. Pointers are `void *` and take a Buffer or null.
 */
export function libc(symbol: string, result: string, ...types: readonly string[]): Call {
  let call: Call | undefined;
  return (...args) => {
    loaded ??= load();
    call ??= loaded.library.func(symbol, result, [...types]) as Call;
    const value = call(...args);
    if (value < 0) throw new SystemError(loaded.koffi.errno());
    return value;
  };
}

function load(): NonNullable<typeof loaded> {
  const koffi = require("koffi") as Koffi;
  return { koffi, library: koffi.load(null) };
}

/**
 * A system call by number, for those that glibc before 2.36 and musl have no function for. Numbers from 424 on are the same on
 * every architecture (Linux, scripts/syscall.tbl).
 */
export function syscall(number: number, ...types: readonly string[]): Call {
  const call = libc("syscall", "long", "long", ...types);
  return (...args) => call(number, ...args);
}

/** A C string of a path or word, with the bytes that {@link nameOf} read. */
export function cString(text: string): Buffer {
  return Buffer.concat([bytesOf(text), Buffer.alloc(1)]);
}

const CODE_OF: Readonly<Record<string, Code>> = {
  EPERM: "PERMISSION_DENIED",
  EACCES: "PERMISSION_DENIED",
  ENOENT: "NOT_FOUND",
  ENOSYS: "UNIMPLEMENTED",
  ENODEV: "UNIMPLEMENTED",
  ENOTBLK: "UNIMPLEMENTED",
  ENOTSUP: "UNIMPLEMENTED",
  ENOSPC: "RESOURCE_EXHAUSTED",
  ENOMEM: "RESOURCE_EXHAUSTED",
  EMFILE: "RESOURCE_EXHAUSTED",
  ENFILE: "RESOURCE_EXHAUSTED",
};

/** A Failure of this room from what a call threw: `<what>: <kernel's words> (EPERM)`, and what to do where that is known. */
export function failed(reason: string, what: string, cause: unknown, detail = ""): Failure {
  if (!(cause instanceof SystemError)) throw cause;
  const hint = cause.code === "EPERM" ? "; run as root, or with CAP_SYS_ADMIN" : "";
  const because = detail === "" ? cause.message : `${detail}: ${cause.message}`;
  return new Failure(CODE_OF[cause.code] ?? "INTERNAL", reason, `${what}: ${because} (${cause.code})${hint}`, {
    cause,
  });
}
