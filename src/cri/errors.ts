import { Failure, messageOf } from "#base";

/**
 * A pull's failure in CRI's words. kubelets tell `RegistryUnavailable` and `SignatureValidationFailed` by how the message
 * begins, and only under the code UNKNOWN, since every other code is printed before the message.
 */
export function pullFailure(error: unknown): Failure {
  if (!(error instanceof Failure)) return new Failure("UNKNOWN", "INTERNAL", messageOf(error), { cause: error });
  const word = wordOf(error);
  return word === undefined
    ? error
    : new Failure("UNKNOWN", error.reason, `${word}: ${error.message}`, { cause: error });
}

function wordOf({ code, reason }: Failure): string | undefined {
  if (/SIGNATURE|UNTRUSTED|TRUST/.test(reason)) return "SignatureValidationFailed";
  // Our own end, and containerd's absence, are no registry's fault.
  if (code === "UNAVAILABLE" && !["STOPPING", "RUNTIME_UNAVAILABLE", "RPC_FAILED"].includes(reason))
    return "RegistryUnavailable";
  return undefined;
}

/** A volume's failure: kubelets count messages that begin so. UNKNOWN for the same reason as above. */
export function volumeFailure(error: unknown): Failure {
  const reason = error instanceof Failure ? error.reason : "INTERNAL";
  return new Failure("UNKNOWN", reason, `ImageVolumeMountFailed: ${messageOf(error)}`, { cause: error });
}
