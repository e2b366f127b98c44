import { statSync } from "node:fs";
import { join } from "node:path";
import { Failure } from "#base";

const SBIN = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/** Our own PATH, and where system programs are even if whoever started us left that out. */
export function searchPath(): string {
  const own = (process.env["PATH"] ?? "").split(":").filter((dir) => dir !== "");
  return [...new Set([...own, ...SBIN])].join(":");
}

/** @throws Failure PROGRAM_MISSING, with the Debian package that brings it */
export function requireProgram(program: string, packageName: string): void {
  const dirs = searchPath().split(":");
  if (!dirs.some((dir) => statSync(join(dir, program), { throwIfNoEntry: false })?.isFile()))
    throw missingProgram(program, packageName);
}

export function missingProgram(program: string, packageName: string): Failure {
  return new Failure(
    "FAILED_PRECONDITION",
    "PROGRAM_MISSING",
    `${program} is not installed: apt-get install ${packageName}`,
  );
}
