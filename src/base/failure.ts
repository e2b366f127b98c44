/** The gRPC status vocabulary, by name. The numbers are the wire's. https://grpc.io/docs/guides/status-codes/ */
export const CODES = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

export type Code = Exclude<keyof typeof CODES, "OK">;

/**
 * The one error of the house. Each door translates it once, into its own protocol's form.
 *
 * - `code` says which kind of failure it is, in gRPC's closed vocabulary;
 * - `reason` is a stable word that programs may match (`DIGEST_MISMATCH`, `UNSAFE_PATH`);
 * - `message` is one line for a person: what is wrong, which digest, field or host, and what to do. Never a secret.
 */
export class Failure extends Error {
  readonly code: Code;
  readonly reason: string;

  constructor(code: Code, reason: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "Failure";
    this.code = code;
    this.reason = reason;
  }
}

/** True for a Failure with one of these reasons. */
export function isFailure(error: unknown, ...reasons: readonly string[]): error is Failure {
  return error instanceof Failure && (reasons.length === 0 || reasons.includes(error.reason));
}

/** The message of anything that was thrown, on one line. */
export function messageOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replace(/\s*\n\s*/g, " ").trim();
}

/** The `code` of a Node.js system error (`ENOENT`), or undefined. */
export function errnoOf(error: unknown): string | undefined {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return typeof code === "string" ? code : undefined;
}
