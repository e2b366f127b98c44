import { isRecord, jsonEqual } from "./merge-patch.ts";
import { structOf, target, type Field, type Type } from "./schema.ts";

/**
 * Paths of fields, as server-side apply counts them: each is a list of steps (`f:name`, `k:{"name":"c"}`, `v:"x"`) joined by
 * NUL. Leaves are members, and so are the items of lists that merge.
 */
export type FieldSet = Set<string>;

const SEPARATOR = "\u0000";
export const join = (path: string, step: string): string => (path === "" ? step : path + SEPARATOR + step);
export const steps = (path: string): string[] => path.split(SEPARATOR);
export const isWithin = (path: string, ancestor: string): boolean => path.startsWith(ancestor + SEPARATOR);

/** How a value of a field merges. */
export type Merge =
  | { readonly kind: "leaf" }
  | { readonly kind: "struct" | "map"; readonly type: Type }
  | { readonly kind: "set" }
  | { readonly kind: "items"; readonly keys: readonly string[]; readonly type: Type };

const LEAF: Merge = { kind: "leaf" };

export function mergeOf(type: Type, field?: Field): Merge {
  const bare = target(type);
  if (field?.atomic === true) return LEAF;
  if (bare.kind === "struct" || bare.kind === "map") return { kind: bare.kind, type: bare };
  if (bare.kind !== "list") return LEAF;
  if (field?.list === "set") return { kind: "set" };
  if (field?.list === "map") return { kind: "items", keys: field.keys, type: target(bare.of) };
  return LEAF;
}

/** The rule for one member of a struct or map. */
export function memberOf(type: Type, key: string): Merge {
  if (type.kind === "map") return mergeOf(type.of);
  const field = type.kind === "struct" ? structOf(type.name).get(key) : undefined;
  return field === undefined ? LEAF : mergeOf(field.type, field);
}

const KEY_DEFAULTS: Readonly<Record<string, string>> = { protocol: "TCP" };

/** The step to an item of a list that merges by keys. */
export function itemStep(item: unknown, keys: readonly string[]): string {
  const values = isRecord(item) ? item : {};
  const id = Object.fromEntries([...keys].sort().map((key) => [key, values[key] ?? KEY_DEFAULTS[key] ?? null]));
  return `k:${JSON.stringify(id)}`;
}

/** Every field that a value sets. */
export function fieldsOf(value: unknown, merge: Merge, path = "", into: FieldSet = new Set()): FieldSet {
  if (value === undefined) return into;
  if ((merge.kind === "struct" || merge.kind === "map") && isRecord(value)) {
    const keys = Object.keys(value);
    if (keys.length === 0 && path !== "") into.add(path);
    for (const key of keys) fieldsOf(value[key], memberOf(merge.type, key), join(path, `f:${key}`), into);
  } else if (merge.kind === "items" && Array.isArray(value)) {
    if (value.length === 0) into.add(path);
    for (const item of value) {
      const at = join(path, itemStep(item, merge.keys));
      into.add(at);
      fieldsOf(item, { kind: "struct", type: merge.type }, at, into);
    }
  } else if (merge.kind === "set" && Array.isArray(value)) {
    if (value.length === 0) into.add(path);
    for (const item of value) into.add(join(path, `v:${JSON.stringify(item)}`));
  } else into.add(path);
  return into;
}

export interface Comparison {
  readonly added: FieldSet;
  readonly modified: FieldSet;
  readonly removed: FieldSet;
}

/** Which fields differ between two values. */
export function compareFields(before: unknown, after: unknown, merge: Merge): Comparison {
  const found: Comparison = { added: new Set(), modified: new Set(), removed: new Set() };
  compare(before, after, merge, "", found);
  return found;
}

function compare(before: unknown, after: unknown, merge: Merge, path: string, found: Comparison): void {
  if (before === undefined) {
    fieldsOf(after, merge, path, found.added);
    return;
  }
  if (after === undefined) {
    fieldsOf(before, merge, path, found.removed);
    return;
  }
  if ((merge.kind === "struct" || merge.kind === "map") && isRecord(before) && isRecord(after)) {
    for (const key of new Set([...Object.keys(before), ...Object.keys(after)]))
      compare(before[key], after[key], memberOf(merge.type, key), join(path, `f:${key}`), found);
  } else if (merge.kind === "items" && Array.isArray(before) && Array.isArray(after)) {
    const inner: Merge = { kind: "struct", type: merge.type };
    const old = new Map(before.map((item: unknown) => [itemStep(item, merge.keys), item]));
    for (const item of after as unknown[]) {
      const step = itemStep(item, merge.keys);
      const at = join(path, step);
      if (!old.has(step)) found.added.add(at);
      compare(old.get(step), item, inner, at, found);
      old.delete(step);
    }
    for (const [step, item] of old) {
      found.removed.add(join(path, step));
      compare(item, undefined, inner, join(path, step), found);
    }
  } else if (merge.kind === "set" && Array.isArray(before) && Array.isArray(after)) {
    const step = (item: unknown): string => join(path, `v:${JSON.stringify(item)}`);
    for (const item of after) if (!before.includes(item)) found.added.add(step(item));
    for (const item of before) if (!after.includes(item)) found.removed.add(step(item));
  } else if (!jsonEqual(before, after)) found.modified.add(path);
}

/** FieldsV1, the form in which sets are kept in `managedFields`. */
export function toFieldsV1(set: FieldSet): Record<string, unknown> {
  const root: Record<string, unknown> = {};
  const inner = new Set<string>();
  for (const path of set) {
    const parts = steps(path);
    for (let i = 1; i < parts.length; i++) inner.add(parts.slice(0, i).join(SEPARATOR));
  }
  for (const path of [...set].sort()) {
    let at = root;
    for (const step of steps(path)) at = (at[step] ??= {}) as Record<string, unknown>;
    if (inner.has(path) || (steps(path).at(-1) ?? "").startsWith("k:")) at["."] = {};
  }
  return root;
}

export function fromFieldsV1(value: unknown, path = "", into: FieldSet = new Set()): FieldSet {
  if (!isRecord(value)) return into;
  const keys = Object.keys(value);
  if (path !== "" && (keys.length === 0 || keys.includes("."))) into.add(path);
  for (const key of keys) if (key !== ".") fromFieldsV1(value[key], join(path, key), into);
  return into;
}

/** A path as error messages write it: `.spec.containers[name="c"].image`. */
export function showPath(path: string): string {
  return steps(path)
    .map((step) => {
      const rest = step.slice(2);
      if (step.startsWith("f:")) return `.${rest}`;
      if (step.startsWith("v:")) return `[=${rest}]`;
      const keys = JSON.parse(rest) as Record<string, unknown>;
      return `[${Object.entries(keys)
        .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
        .join(",")}]`;
    })
    .join("");
}

/** A path with indices (`spec.volumes[0].image`) in the form of {@link showPath} (`.spec.volumes[name="v"].image`). */
export function showIndexed(value: unknown, path: string, typeName: string): string {
  let merge: Merge = { kind: "struct", type: { kind: "struct", name: typeName } };
  let at = value;
  let shown = "";
  for (const part of path.match(/[^.[\]]+|\[\d+\]/g) ?? []) {
    if (part.startsWith("[")) {
      const index = Number(part.slice(1, -1));
      at = Array.isArray(at) ? (at as unknown[])[index] : undefined;
      shown += merge.kind === "items" ? showPath(itemStep(at, merge.keys)) : part;
      merge = merge.kind === "items" ? { kind: "struct", type: merge.type } : LEAF;
    } else {
      at = isRecord(at) ? at[part] : undefined;
      shown += `.${part}`;
      merge = merge.kind === "struct" || merge.kind === "map" ? memberOf(merge.type, part) : LEAF;
    }
  }
  return shown;
}
