import { Failure } from "#base";
import { goTypeError } from "./go-json.ts";
import { isRecord } from "./merge-patch.ts";
import { canonicalQuantity } from "./quantity.ts";
import { structOf, type Field, type Type } from "./schema.ts";

/** A value as the typed API has it, and the paths of what it does not have (`spec.volumes[0].image.readOnly`). */
export interface Decoded {
  readonly value: Record<string, unknown>;
  readonly unknown: readonly string[];
}

/**
 * Reads a JSON value as a type of the API and writes it as the API server would: fields in their order, unknown ones
 * dropped and named, empty ones left out or written as their zero, times and quantities in canonical form.
 * Throws Failure `TYPE_MISMATCH` where a value has the wrong JSON type.
 */
export function decode(value: unknown, typeName: string): Decoded {
  const unknown: string[] = [];
  const decoded = convert(value ?? {}, { kind: "struct", name: typeName }, "", unknown, typeName.replace(/^.*\./, ""));
  return { value: decoded as Record<string, unknown>, unknown };
}

function mismatch(value: unknown, expected: string, path: string, owner: string, number?: string): Failure {
  const plain = path.replace(/\[[^\]]*\]/g, "");
  const into = `struct field ${owner}.${plain} of type ${expected}`;
  return new Failure("INVALID_ARGUMENT", "TYPE_MISMATCH", goTypeError(value, into, number));
}

function convert(value: unknown, type: Type, path: string, unknown: string[], owner: string): unknown {
  switch (type.kind) {
    case "pointer":
      return value === null ? undefined : convert(value, type.of, path, unknown, owner);
    case "struct":
      return convertStruct(value, type.name, path, unknown, owner);
    case "list":
      if (!Array.isArray(value)) throw mismatch(value, goType(type), path, owner);
      return value.map((item, i) => convert(item ?? zero(type.of), type.of, `${path}[${i}]`, unknown, owner));
    case "map":
      if (!isRecord(value)) throw mismatch(value, goType(type), path, owner);
      return Object.fromEntries(
        Object.keys(value)
          .sort()
          .map((key) => [key, convert(value[key] ?? zero(type.of), type.of, `${path}.${key}`, unknown, owner)]),
      );
    case "string":
      if (typeof value !== "string") throw mismatch(value, "string", path, owner);
      return value;
    case "bool":
      if (typeof value !== "boolean") throw mismatch(value, "bool", path, owner);
      return value;
    case "int":
      if (typeof value !== "number" || !Number.isInteger(value))
        throw mismatch(value, "int64", path, owner, String(value));
      return value;
    case "float":
      if (typeof value !== "number") throw mismatch(value, "float64", path, owner);
      return value;
    case "intstr":
      if (typeof value !== "string" && (typeof value !== "number" || !Number.isInteger(value)))
        throw mismatch(value, "intstr.IntOrString", path, owner);
      return value;
    case "bytes":
      if (typeof value !== "string") throw mismatch(value, "[]uint8", path, owner);
      return base64(value);
    case "time":
    case "microtime":
      if (typeof value !== "string") throw mismatch(value, "Time", path, owner);
      return value === "" ? null : canonicalTime(value, type.kind === "microtime");
    case "quantity":
      if (typeof value !== "string" && typeof value !== "number") throw mismatch(value, "Quantity", path, owner);
      return canonicalQuantity(String(value).trim());
    case "any":
    default:
      return value;
  }
}

function convertStruct(value: unknown, name: string, path: string, unknown: string[], owner: string): unknown {
  if (!isRecord(value)) throw mismatch(value, name.replace("metav1.", "v1."), path, owner);
  const fields = structOf(name);
  const within = name.replace(/^.*\./, "");
  for (const key of Object.keys(value)) if (!fields.has(key)) unknown.push(path === "" ? key : `${path}.${key}`);
  const result: Record<string, unknown> = {};
  for (const [key, field] of fields) {
    const given = Object.hasOwn(value, key) ? value[key] : undefined;
    const at = path === "" ? key : `${path}.${key}`;
    const converted = given == null ? zero(field.type) : convert(given, field.type, at, unknown, within);
    if (written(converted, field)) result[key] = converted ?? null;
  }
  return result;
}

/** Whether Go's encoder writes the field: `omitempty` has no effect on structs, and times are structs. */
function written(value: unknown, field: Field): boolean {
  if (field.emit === "always") return true;
  const { kind } = field.type;
  if (value == null) return field.emit === "filled" && (kind === "time" || kind === "microtime");
  if (kind === "pointer" || kind === "any") return true;
  if (kind === "struct") return field.emit !== "nonzero" || Object.keys(value).length > 0;
  if (kind === "quantity" || kind === "intstr") return true;
  if (kind === "list") return (value as unknown[]).length > 0;
  if (kind === "map") return Object.keys(value).length > 0;
  return value !== "" && value !== 0 && value !== false;
}

function zero(type: Type): unknown {
  switch (type.kind) {
    case "string":
    case "bytes":
      return "";
    case "bool":
      return false;
    case "int":
    case "float":
    case "intstr":
      return 0;
    case "quantity":
      return "0";
    case "struct":
      return convertStruct({}, type.name, "", [], "");
    case "list":
    case "map":
    case "pointer":
    case "time":
    case "microtime":
    case "any":
      return undefined;
    default:
      return type satisfies never;
  }
}

function goType(type: Type): string {
  switch (type.kind) {
    case "list":
      return `[]${goType(type.of)}`;
    case "map":
      return `map[string]${goType(type.of)}`;
    case "pointer":
      return goType(type.of);
    case "struct":
      return type.name.replace("metav1.", "v1.");
    case "string":
    case "bool":
    case "int":
    case "float":
    case "bytes":
    case "time":
    case "microtime":
    case "quantity":
    case "intstr":
    case "any":
    default:
      return type.kind;
  }
}

function base64(text: string): string {
  const bare = text.replace(/[\r\n]/g, "");
  if (bare.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(bare)) {
    const at = /[^A-Za-z0-9+/]/.exec(bare)?.index ?? bare.length;
    throw new Failure("INVALID_ARGUMENT", "TYPE_MISMATCH", `illegal base64 data at input byte ${at}`);
  }
  return bare;
}

const RFC3339 = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)$/;

/** RFC 3339 in UTC, to the second or to the microsecond. Throws Failure `TYPE_MISMATCH`. */
function canonicalTime(text: string, micro = false): string {
  const match = RFC3339.exec(text);
  const millis = Date.parse(text);
  if (match === null || Number.isNaN(millis))
    throw new Failure(
      "INVALID_ARGUMENT",
      "TYPE_MISMATCH",
      `parsing time ${JSON.stringify(text)} as "2006-01-02T15:04:05Z07:00": cannot parse ${JSON.stringify(text)} as "2006"`,
    );
  const seconds = new Date(Math.floor(millis / 1000) * 1000).toISOString().slice(0, 19);
  return micro ? `${seconds}.${(match[3] ?? "").padEnd(6, "0").slice(0, 6)}Z` : `${seconds}Z`;
}

/** Now, or another time (a number: milliseconds since the epoch), as objects carry it: whole seconds, or `micro`. */
export function timestamp(date: Date | number = new Date(), micro = false): string {
  const text = new Date(date).toISOString();
  return micro ? `${text.slice(0, 23)}000Z` : `${text.slice(0, 19)}Z`;
}
