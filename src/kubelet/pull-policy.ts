import { parseReference } from "#oci";

export type PullPolicy = "Always" | "Never" | "IfNotPresent";

/** `repo` → `repo:latest`; what has a tag or a digest stays as written. @throws Failure INVALID_REFERENCE */
export function withDefaultTag(reference: string): string {
  parseReference(reference);
  const last = reference.slice(reference.lastIndexOf("/") + 1);
  return last.includes(":") || last.includes("@") ? reference : `${reference}:latest`;
}

/** The policy where a Pod says none: Always for `:latest`, else IfNotPresent. */
export function defaultPolicy(reference: string): PullPolicy {
  try {
    return parseReference(reference).tag === "latest" ? "Always" : "IfNotPresent";
  } catch {
    return "IfNotPresent";
  }
}
