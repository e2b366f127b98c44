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

/** What a key of a list item is where the item does not say. */
export const keyDefault = (key: string): string | undefined => KEY_DEFAULTS[key];

/** The step to an item of a list that merges by keys. A key that the item does not have tells it apart, too. */
export function itemStep(item: unknown, keys: readonly string[]): string {
  const values = isRecord(item) ? item : {};
  const id = [...keys].sort().map((key) => [key, values[key] ?? keyDefault(key)]);
  return `k:${JSON.stringify(Object.fromEntries(id.filter(([, value]) => value !== undefined)))}`;
}

/** Every field that a value sets: leaves, items of lists that merge, members of maps, and what is null or empty. */
export function fieldsOf(value: unknown, merge: Merge, path = "", into: FieldSet = new Set()): FieldSet {
  if (value === undefined) return into;
  if ((merge.kind === "struct" || merge.kind === "map") && isRecord(value)) {
    for (const [key, inner] of Object.entries(value)) {
      const at = join(path, `f:${key}`);
      fieldsOf(inner, memberOf(merge.type, key), at, into);
      if (merge.kind === "map" || (isRecord(inner) && Object.keys(inner).length === 0)) into.add(at);
    }
  } else if (merge.kind === "items" && Array.isArray(value)) {
    for (const item of value) {
      const at = join(path, itemStep(item, merge.keys));
      into.add(at);
      fieldsOf(item, { kind: "struct", type: merge.type }, at, into);
    }
  } else if (merge.kind === "set" && Array.isArray(value)) {
    for (const item of value) into.add(join(path, `v:${JSON.stringify(item)}`));
  } else if (path !== "") into.add(path);
  return into;
}

export interface Comparison {
  readonly added: FieldSet;
  readonly modified: FieldSet;
  readonly removed: FieldSet;
}

/** Which fields differ between two values. A container that is new, or gone, counts beside what is in it. */
export function compareFields(before: unknown, after: unknown, merge: Merge): Comparison {
  const found: Comparison = { added: new Set(), modified: new Set(), removed: new Set() };
  compare(before, after, merge, "", found);
  return found;
}

function compare(before: unknown, after: unknown, merge: Merge, path: string, found: Comparison): void {
  if (before === undefined && after === undefined) return;
  const inner = childrenOf(before, after, merge);
  for (const [step, old, now, rule] of inner ?? []) compare(old, now, rule, join(path, step), found);
  if (path === "") return;
  if (before === undefined) found.added.add(path);
  else if (after === undefined) found.removed.add(path);
  else if (inner === undefined && !jsonEqual(before, after)) found.modified.add(path);
}

type Child = readonly [step: string, before: unknown, after: unknown, merge: Merge];

/** The parts of two containers of one kind, side by side; undefined where the values are leaves, or both empty. */
function childrenOf(before: unknown, after: unknown, merge: Merge): Child[] | undefined {
  if (merge.kind === "leaf") return undefined;
  const parts = [before, after].map((value) => partsOf(value, merge));
  const [old, now] = parts;
  if (old === undefined || now === undefined || old.size + now.size === 0) return undefined;
  return [...new Set([...old.keys(), ...now.keys()])].map((step) => [
    step,
    old.get(step),
    now.get(step),
    merge.kind === "items"
      ? { kind: "struct", type: merge.type }
      : merge.kind === "set"
        ? LEAF
        : memberOf(merge.type, step.slice(2)),
  ]);
}

/** A container's parts by their step; nothing is an empty container, and what is none has no parts. */
function partsOf(value: unknown, merge: Exclude<Merge, { kind: "leaf" }>): Map<string, unknown> | undefined {
  if (value === undefined || value === null) return new Map();
  if (merge.kind === "items" && Array.isArray(value))
    return new Map(value.map((item: unknown) => [itemStep(item, merge.keys), item]));
  if (merge.kind === "set" && Array.isArray(value))
    return new Map(value.map((item: unknown) => [`v:${JSON.stringify(item)}`, item]));
  if ((merge.kind === "struct" || merge.kind === "map") && isRecord(value))
    return new Map(Object.entries(value).map(([key, member]) => [`f:${key}`, member]));
  return undefined;
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
    if (inner.has(path)) at["."] = {};
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
      if (step.startsWith("i:")) return `[${rest}]`;
      const keys = JSON.parse(rest) as Record<string, unknown>;
      return `[${Object.entries(keys)
        .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
        .join(",")}]`;
    })
    .join("");
}

/** The paths of a set, as upstream lists them: those that end in a container before those that go on below it. */
export function inOrder(set: FieldSet, within = ""): string[] {
  const depth = within === "" ? 0 : steps(within).length;
  const below = within === "" ? [...set] : [...set].filter((path) => isWithin(path, within));
  const ends = below.filter((path) => steps(path).length === depth + 1).sort(byCode);
  const further = below.filter((path) => steps(path).length > depth + 1);
  const heads = new Set(
    further.map((path) =>
      steps(path)
        .slice(0, depth + 1)
        .join(SEPARATOR),
    ),
  );
  return [...ends, ...[...heads].sort(byCode).flatMap((head) => inOrder(set, head))];
}

const byCode = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
