import type { FieldErrors } from "../field-errors.ts";

/** A path that never steps back. */
export function noBacksteps(path: string, field: string, errors: FieldErrors): void {
  if (hasBacksteps(path)) errors.invalid(field, path, "must not contain '..'");
}

export const hasBacksteps = (path: string): boolean => path.split("/").includes("..");

/** A path that must stay below where it starts. */
export function descending(path: string, field: string, errors: FieldErrors): void {
  if (path.startsWith("/")) errors.invalid(field, path, "must be a relative path");
  noBacksteps(path, field, errors);
}

/** The same, and no name that the kubelet keeps for itself. */
export function unreserved(path: string, field: string, errors: FieldErrors): void {
  descending(path, field, errors);
  if (path.startsWith("..") && !path.startsWith("../")) errors.invalid(field, path, "must not start with '..'");
}

/** Permissions of a file. */
export function fileMode(value: number | undefined, field: string, errors: FieldErrors): void {
  if (value !== undefined && (value < 0 || value > 0o777))
    errors.invalid(field, value, "must be a number between 0 and 0777 (octal), both inclusive");
}
