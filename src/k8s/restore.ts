import { goKind } from "./go-values.ts";
import { isRecord } from "./merge-patch.ts";
import { structOf, type Type } from "./schema.ts";

/**
 * Why a JSON value is no value of a type, as the API server says of what a strategic merge made; undefined where it is one.
 * It names no field. What has a text form of its own (times, quantities) is not looked at.
 */
export function whyNotRestored(value: unknown, typeName: string): string | undefined {
  return problem(value, { kind: "struct", name: typeName });
}

function problem(value: unknown, type: Type): string | undefined {
  if (value == null) return undefined;
  const kind = goKind(value);
  switch (type.kind) {
    case "pointer":
      return problem(value, type.of);
    case "struct":
      if (!isRecord(value)) return `cannot restore struct from: ${kind}`;
      for (const [name, field] of structOf(type.name)) {
        const found = problem(value[name], field.type);
        if (found !== undefined) return found;
      }
      return undefined;
    case "map":
      if (!isRecord(value)) return `cannot restore map from ${kind}`;
      return first(Object.values(value), type.of);
    case "list":
      if (!Array.isArray(value)) return `cannot restore slice from ${kind}`;
      return first(value, type.of);
    case "bytes":
      return typeof value === "string" ? undefined : `cannot restore slice from ${kind}`;
    case "string":
      if (kind === "string") return undefined;
      return kind === "int64" ? "cannot convert int64 to string" : "unrecognized type: string";
    case "bool":
      return kind === "bool" ? undefined : "unrecognized type: bool";
    case "int":
      if (kind === "int64") return undefined;
      return kind === "float64" ? `cannot convert float64 to ${type.go}` : `unrecognized type: ${type.go}`;
    case "float":
      return typeof value === "number" ? undefined : "unrecognized type: float64";
    case "time":
    case "microtime":
    case "quantity":
    case "intstr":
    case "any":
      return undefined;
    default:
      return type satisfies never;
  }
}

function first(values: readonly unknown[], type: Type): string | undefined {
  for (const value of values) {
    const found = problem(value, type);
    if (found !== undefined) return found;
  }
  return undefined;
}
