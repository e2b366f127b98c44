import { itemStep, keyDefault, mergeOf, showPath, type Merge } from "./field-sets.ts";
import { goSyntax, goValue } from "./go-values.ts";
import { isRecord } from "./merge-patch.ts";
import { structOf, target, type Field, type Type } from "./schema.ts";

/**
 * What is wrong with the types of an applied configuration, each with its path (`.spec.x: expected string, got …`), in
 * structured-merge-diff's words. Of the fields that a struct does not have the first is told.
 */
export function typeErrors(value: unknown, typeName: string): string[] {
  const errors: string[] = [];
  check(value, { kind: "struct", name: typeName }, undefined, "", errors);
  return errors;
}

function check(value: unknown, type: Type, field: Field | undefined, path: string, errors: string[]): void {
  if (value === null || value === undefined) return;
  const bare = target(type);
  const wrong = (expected: string): unknown => errors.push(`${path}: expected ${expected}, got &{${goValue(value)}}`);
  switch (bare.kind) {
    case "struct":
      if (isRecord(value)) checkMembers(value, bare.name, path, errors);
      else wrong("map");
      return;
    case "map":
      if (!isRecord(value)) wrong("map");
      else for (const [key, inner] of Object.entries(value)) check(inner, bare.of, undefined, `${path}.${key}`, errors);
      return;
    case "list":
      if (Array.isArray(value)) checkItems(value, mergeOf(type, field), bare.of, path, errors);
      else wrong("list");
      return;
    case "string":
    case "bytes":
      if (typeof value !== "string")
        errors.push(`${path}: expected string, got &value.valueUnstructured{Value:${goSyntax(value)}}`);
      return;
    case "bool":
      if (typeof value !== "boolean") wrong("boolean");
      return;
    case "int":
    case "float":
      if (typeof value !== "number") errors.push(`${path}: expected numeric (int or float), got ${goType(value)}`);
      return;
    case "time":
    case "microtime":
    case "quantity":
    case "intstr":
      if (typeof value === "object") wrong("any scalar");
      return;
    case "pointer":
    case "any":
      return;
    default:
      bare satisfies never;
  }
}

function checkMembers(value: Record<string, unknown>, typeName: string, path: string, errors: string[]): void {
  const fields = structOf(typeName);
  for (const [key, inner] of Object.entries(value)) {
    const field = fields.get(key);
    const at = `${path}.${key}`;
    if (field === undefined) {
      errors.push(`${at}: field not declared in schema`);
      return;
    }
    check(inner, field.type, field, at, errors);
  }
}

function checkItems(list: readonly unknown[], merge: Merge, of: Type, path: string, errors: string[]): void {
  const seen = new Set<string>();
  for (const [i, item] of list.entries()) {
    let step = `i:${i}`;
    if (merge.kind === "items" || merge.kind === "set") {
      const odd = merge.kind === "items" ? keylessItem(item, merge.keys) : oddSetItem(item);
      if (odd !== undefined) {
        errors.push(`${path}: element ${i}: ${odd}`);
        return;
      }
      step = merge.kind === "items" ? itemStep(item, merge.keys) : `v:${JSON.stringify(item)}`;
      if (seen.has(step)) errors.push(`${path}: duplicate entries for key ${showPath(step)}`);
      seen.add(step);
    }
    check(item, of, undefined, path + showPath(step), errors);
  }
}

function keylessItem(item: unknown, keys: readonly string[]): string | undefined {
  if (item === null) return "associative list with keys may not have a null element";
  if (!isRecord(item)) return "associative list with keys may not have non-map elements";
  if (keys.some((key) => item[key] !== undefined || keyDefault(key) !== undefined)) return undefined;
  const names = `[${keys.map((key) => JSON.stringify(key)).join(" ")}]`;
  return `associative list with keys has an element that omits all key fields ${names} (and doesn't have default values for any key fields)`;
}

function oddSetItem(item: unknown): string | undefined {
  if (item === null) return "associative list without keys has an element that's an explicit null";
  if (Array.isArray(item)) return "not supported: associative list with lists as elements";
  return isRecord(item) ? "associative list without keys has an element that's a map type" : undefined;
}

function goType(value: unknown): string {
  if (Array.isArray(value)) return "[]interface {}";
  return isRecord(value) ? "map[string]interface {}" : typeof value === "boolean" ? "bool" : typeof value;
}
