import type { AnyContainer, PodSpec, Volume } from "#k8s";
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
export const ABOVE_ZERO = "must be greater than zero";

/** What validating one container needs to know of its Pod. */
export interface PodContext {
  /** The volumes that are as they must be: a mount of another names none. */
  readonly volumes: ReadonlyMap<string, Volume>;
  readonly rules: PodRules;
  readonly gracePeriod: number | undefined;
  readonly spec: PodSpec;
  /** The names in `spec.resourceClaims`. */
  readonly claims: ReadonlySet<string>;
}

/** Whether the Pod shares the users of the node, as it does unless it says otherwise. */
export const sharesUsers = (spec: PodSpec): boolean => spec.hostUsers ?? true;

/** Required where empty, unsupported where it is none of the values. */
export function oneOf(value: string | undefined, values: readonly string[], field: string, errors: FieldErrors): void {
  if (!value) errors.required(field);
  else among(value, values, field, errors);
}

/** Unsupported where it is given and none of the values. */
export function among(value: string | undefined, values: readonly string[], field: string, errors: FieldErrors): void {
  if (value !== undefined && !values.includes(value)) errors.unsupported(field, value, values);
}

/** A user's or group's number. */
export function identity(value: number | undefined, field: string, errors: FieldErrors): void {
  if (value !== undefined && (value < 0 || value > MAX_INT32)) errors.invalid(field, value, range(0, MAX_INT32));
}

/** All containers of a Pod with their paths, in the order in which upstream visits them. */
export function containersWithPaths(spec: PodSpec, field: string): { at: string; container: AnyContainer }[] {
  return (["initContainers", "containers", "ephemeralContainers"] as const).flatMap((list) =>
    ((spec[list] ?? []) as AnyContainer[]).map((container, i) => ({ at: `${field}.${list}[${i}]`, container })),
  );
}
