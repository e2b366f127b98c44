import { isRecord } from "./merge-patch.ts";

/** The kind of a JSON value as Go's reflection names it, where whole numbers are int64. */
export function goKind(value: unknown): string {
  if (Array.isArray(value)) return "slice";
  if (isRecord(value)) return "map";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "number") return Number.isInteger(value) ? "int64" : "float64";
  return value === null ? "invalid" : typeof value;
}

/** A JSON value as Go prints it with `%v` (`map[a:1 b:[x y]]`). */
export function goValue(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(goValue).join(" ")}]`;
  if (typeof value === "string") return value;
  if (!isRecord(value)) return value === null ? "<nil>" : JSON.stringify(value);
  const members = Object.keys(value)
    .sort()
    .map((key) => `${key}:${goValue(value[key])}`);
  return `map[${members.join(" ")}]`;
}

/** A JSON value as Go prints it with `%#v`. */
export function goSyntax(value: unknown): string {
  if (Array.isArray(value)) return `[]interface {}{${value.map(goSyntax).join(", ")}}`;
  if (!isRecord(value)) return value === null ? "interface {}(nil)" : JSON.stringify(value);
  const members = Object.keys(value)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${goSyntax(value[key])}`);
  return `map[string]interface {}{${members.join(", ")}}`;
}

/** A JSON value as Go's encoder writes it: keys in order, and nothing that HTML would take for its own. */
export function goJson(value: unknown): string {
  const ordered = JSON.stringify(value, (_key, inner: unknown) =>
    isRecord(inner) ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1))) : inner,
  );
  return ordered.replace(/[<>&\u2028\u2029]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
