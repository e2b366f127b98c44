import { StatusError, type StatusCause } from "./status.ts";

export type ErrorReason =
  | "FieldValueRequired"
  | "FieldValueInvalid"
  | "FieldValueNotFound"
  | "FieldValueDuplicate"
  | "FieldValueForbidden"
  | "FieldValueNotSupported"
  | "FieldValueTooLong"
  | "FieldValueTooMany"
  | "FieldValueTypeInvalid";

/** What is wrong with an object, field by field, in the order it was found: that order is part of the answer. */
export class FieldErrors {
  readonly causes: StatusCause[] = [];

  add(reason: ErrorReason, field: string, message: string): void {
    this.causes.push({ reason, message, field });
  }

  required(field: string, detail = ""): void {
    this.add("FieldValueRequired", field, detail === "" ? "Required value" : `Required value: ${detail}`);
  }

  invalid(field: string, value: unknown, detail: string): void {
    this.add("FieldValueInvalid", field, `Invalid value: ${shown(value)}${detail === "" ? "" : `: ${detail}`}`);
  }

  /** The same for each thing that is wrong with one value. */
  invalidAll(field: string, value: unknown, details: readonly string[]): void {
    for (const detail of details) this.invalid(field, value, detail);
  }

  notFound(field: string, value: unknown, detail = ""): void {
    this.add("FieldValueNotFound", field, `Not found: ${shown(value)}${detail === "" ? "" : `: ${detail}`}`);
  }

  duplicate(field: string, value: unknown, detail = ""): void {
    this.add("FieldValueDuplicate", field, `Duplicate value: ${shown(value)}${detail === "" ? "" : `: ${detail}`}`);
  }

  forbidden(field: string, detail: string): void {
    this.add("FieldValueForbidden", field, `Forbidden: ${detail}`);
  }

  unsupported(field: string, value: unknown, supported: readonly string[]): void {
    const values = supported.map((value) => JSON.stringify(value)).join(", ");
    this.add("FieldValueNotSupported", field, `Unsupported value: ${shown(value)}: supported values: ${values}`);
  }

  tooLong(field: string, bytes: number): void {
    this.add("FieldValueTooLong", field, `Too long: may not be more than ${bytes} bytes`);
  }

  tooMany(field: string, actual: number, most: number): void {
    this.add("FieldValueTooMany", field, `Too many: ${actual}: must have at most ${most} items`);
  }

  /** What was found, each thing once, in one line. */
  text(): string {
    const lines = [...new Set(this.causes.map(({ field = "", message }) => `${field}: ${message}`))];
    return lines.length === 1 ? (lines[0] ?? "") : `[${lines.join(", ")}]`;
  }

  /** Throws 422 if anything was found. `kind` is qualified by its group where that is not the core one. */
  check(kind: string, group: string, name: string): void {
    if (this.causes.length === 0) return;
    const what = group === "" ? kind : `${kind}.${group}`;
    throw new StatusError(422, "Invalid", `${what} "${name}" is invalid: ${this.text()}`, {
      ...(name === "" ? {} : { name }),
      ...(group === "" ? {} : { group }),
      ...(kind === "" ? {} : { kind }),
      causes: this.causes,
    });
  }
}

/** A value as Go's field errors print it: strings quoted, objects as JSON. */
function shown(value: unknown): string {
  return value === undefined ? "null" : JSON.stringify(value);
}
