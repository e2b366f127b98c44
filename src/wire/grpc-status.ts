import { CODES, Failure, type Code } from "#base";

const NAMES = new Map<number, Code>(
  Object.entries(CODES)
    .filter(([name]) => name !== "OK")
    .map(([name, number]) => [number, name as Code]),
);

/** The name of a gRPC status number; what is not in the vocabulary is UNKNOWN. */
export function codeOf(status: number): Code {
  return NAMES.get(status) ?? "UNKNOWN";
}

/** A status that a server sent: its code, and its message as it came. Reason: `RPC_FAILED`. */
export function failureOfStatus(status: number, message: string, cause?: unknown): Failure {
  return new Failure(codeOf(status), "RPC_FAILED", message, { cause });
}
