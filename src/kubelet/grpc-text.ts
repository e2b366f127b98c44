import { type Code, Failure, messageOf } from "#base";

/** A runtime's error as a Go client prints it: Kubernetes' users search for these words. `Unknown` is not spelled out. */
export function runtimeMessage(error: unknown): string {
  const message = messageOf(error);
  if (!(error instanceof Failure) || error.reason !== "RPC_FAILED" || error.code === "UNKNOWN") return message;
  return `rpc error: code = ${goCode(error.code)} desc = ${message}`;
}

/** `NOT_FOUND` → `NotFound`; the only odd one is `CANCELLED` → `Canceled`. */
function goCode(code: Code): string {
  if (code === "CANCELLED") return "Canceled";
  return code
    .toLowerCase()
    .split("_")
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join("");
}
