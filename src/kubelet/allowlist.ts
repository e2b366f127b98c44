import { Failure } from "#base";

/** When a Pod that wants an image that is here must show that it may have it. */
export type VerificationPolicy =
  "NeverVerify" | "NeverVerifyPreloadedImages" | "NeverVerifyAllowlistedImages" | "AlwaysVerify";

/**
 * A test of an image's name, without tag and digest, and whether a kubelet pulled it: true where every Pod may use it.
 *
 * @throws Failure BAD_ALLOWLIST where a pattern is none
 */
export function allowsWithoutProof(
  policy: VerificationPolicy,
  allowlist: readonly string[],
): (name: string, isPulled: boolean) => boolean {
  for (const pattern of allowlist) refuseBad(pattern);
  switch (policy) {
    case "NeverVerify":
      return () => true;
    case "NeverVerifyPreloadedImages":
      return (_, isPulled) => !isPulled;
    case "NeverVerifyAllowlistedImages":
      return (name) => allowlist.some((pattern) => fits(pattern, name));
    case "AlwaysVerify":
      return () => false;
    default:
      throw new Failure(
        "INVALID_ARGUMENT",
        "BAD_POLICY",
        `unknown image pull credential verification policy: ${String(policy)}`,
      );
  }
}

const fits = (pattern: string, name: string): boolean =>
  pattern.endsWith("/*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern;

function refuseBad(pattern: string): void {
  const refuse = (why: string): never => {
    throw new Failure("INVALID_ARGUMENT", "BAD_ALLOWLIST", `${why}: ${JSON.stringify(pattern)}`);
  };
  if (pattern.trim() !== pattern) refuse("leading/trailing spaces are not allowed");
  const whole = pattern.endsWith("/*") ? pattern.slice(0, -1) : pattern;
  if (whole === "") refuse("the supplied pattern is too short");
  if (whole === "/") refuse("at least registry hostname is required");
  if (whole.includes("*")) refuse("not a valid wildcard pattern, only patterns ending with '/*' are allowed");
  if (whole === pattern && /@|:[^/]*$/.test(pattern))
    refuse("neither tag nor digest is accepted in an image reference");
}
