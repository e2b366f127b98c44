import type { PodSpec, Volume } from "#k8s";
import type { FieldErrors } from "../field-errors.ts";

/** What decides between versions of the rules. */
export interface PodRules {
  /** 1.31 and 1.32 refused `subPath` on an image volume. */
  readonly imageSubPath: boolean;
  /** A template may leave an image volume's reference empty; a Pod may not. */
  readonly isPod: boolean;
}

export const MAX_INT32 = 2147483647;
export const range = (from: number, to: number): string => `must be between ${from} and ${to}, inclusive`;
export const AT_LEAST_ZERO = "must be greater than or equal to 0";

/** What validating one container needs to know of its Pod. */
export interface PodContext {
  readonly volumes: ReadonlyMap<string, Volume>;
  readonly rules: PodRules;
  readonly gracePeriod: number;
  readonly spec: PodSpec;
}

/** Required where empty, unsupported where it is none of the values. */
export function oneOf(value: string | undefined, values: readonly string[], field: string, errors: FieldErrors): void {
  if (!value) errors.required(field);
  else if (!values.includes(value)) errors.unsupported(field, value, values);
}

/** A seccomp profile, of a Pod or of a container. */
export function validateSeccomp(
  profile: { type: string; localhostProfile?: string } | undefined,
  field: string,
  errors: FieldErrors,
): void {
  if (profile === undefined) return;
  if (!profile.type) errors.required(`${field}.type`, "type is required when seccompProfile is set");
  else oneOf(profile.type, ["Localhost", "RuntimeDefault", "Unconfined"], `${field}.type`, errors);
  if (profile.type === "Localhost") {
    if (profile.localhostProfile === undefined)
      errors.required(`${field}.localhostProfile`, "must be set when seccomp type is Localhost");
  } else {
    if (profile.localhostProfile !== undefined)
      errors.invalid(
        `${field}.localhostProfile`,
        profile.localhostProfile,
        "can only be set when seccomp type is Localhost",
      );
  }
}
