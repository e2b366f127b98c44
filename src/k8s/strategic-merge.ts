import { Failure } from "#base";
import { isRecord, jsonEqual } from "./merge-patch.ts";
import { structOf, target, type Field, type Type } from "./schema.ts";

const bad = (message: string): Failure => new Failure("INVALID_ARGUMENT", "INVALID_PATCH", message);

/**
 * Kubernetes' strategic merge patch of an object of type `typeName` (`v1.Pod`): lists merge by the schema's merge keys,
 * with the directives `$patch`, `$retainKeys`, `$setElementOrder/<list>` and `$deleteFromPrimitiveList/<list>`.
 */
export function strategicMerge(original: unknown, patch: unknown, typeName: string): unknown {
  if (!isRecord(patch)) throw bad("a strategic merge patch must be an object");
  return mergeStruct(isRecord(original) ? original : {}, patch, { kind: "struct", name: typeName });
}

function fieldOf(type: Type, key: string): Field | undefined {
  if (type.kind === "struct") return structOf(type.name).get(key);
  return undefined;
}

function mergeStruct(original: Record<string, unknown>, patch: Record<string, unknown>, type: Type): unknown {
  const directive = patch["$patch"];
  if (directive === "replace") return withoutDirectives(patch);
  if (directive === "delete") return {};
  if (directive !== undefined && directive !== "merge") throw bad(`invalid patch type: ${JSON.stringify(directive)}`);
  const result = { ...original };
  const retain = patch["$retainKeys"];
  if (Array.isArray(retain)) for (const key of Object.keys(result)) if (!retain.includes(key)) delete result[key];
  for (const [key, value] of Object.entries(patch)) {
    if (key === "$patch" || key === "$retainKeys") continue;
    const special = /^\$(setElementOrder|deleteFromPrimitiveList)\/(.*)$/.exec(key);
    if (special !== null) {
      const name = special[2] ?? "";
      if (special[1] === "deleteFromPrimitiveList" && Array.isArray(value) && Array.isArray(result[name]))
        result[name] = result[name].filter((item) => !value.includes(item));
      else if (!(name in patch) && Array.isArray(value) && Array.isArray(result[name]))
        result[name] = inOrder(result[name] as unknown[], [], value, fieldOf(type, name)?.mergeKey);
      continue;
    }
    if (value === null) {
      delete result[key];
      continue;
    }
    const field = fieldOf(type, key);
    const inner = field === undefined ? (type.kind === "map" ? type.of : { kind: "any" as const }) : target(field.type);
    if (Array.isArray(value)) {
      const order = patch[`$setElementOrder/${key}`];
      result[key] = mergeList(result[key], value, field, inner, Array.isArray(order) ? order : undefined);
    } else if (isRecord(value)) {
      result[key] = mergeStruct(isRecord(result[key]) ? result[key] : {}, value, inner);
    } else result[key] = value;
  }
  return result;
}

function mergeList(
  original: unknown,
  patch: readonly unknown[],
  field: Field | undefined,
  type: Type,
  order: readonly unknown[] | undefined,
): unknown[] {
  const before: unknown[] = Array.isArray(original) ? original : [];
  if (patch.some((item) => isRecord(item) && item["$patch"] === "replace" && Object.keys(item).length === 1))
    return patch.filter((item) => !(isRecord(item) && item["$patch"] === "replace")).map(withoutDirectives);
  if (field?.merges !== true) return patch.map(withoutDirectives);
  const key = field.mergeKey;
  if (key === undefined) {
    const merged = [...before, ...patch.filter((item) => !before.includes(item))];
    return order === undefined ? merged : inOrder(merged, patch, order, undefined);
  }
  const of = type.kind === "list" ? target(type.of) : type;
  const merged = [...before];
  for (const item of patch) {
    if (!isRecord(item)) throw bad(`an item of a list that merges by ${key} must be an object`);
    if (item[key] === undefined)
      throw new Failure(
        "INVALID_ARGUMENT",
        "MISSING_MERGE_KEY",
        `map: ${goMap(item)} does not contain declared merge key: ${key}`,
      );
    const at = merged.findIndex((other) => isRecord(other) && jsonEqual(other[key], item[key]));
    if (item["$patch"] === "delete") {
      if (at >= 0) merged.splice(at, 1);
    } else if (at < 0) merged.push(withoutDirectives(item));
    else merged[at] = mergeStruct(merged[at] as Record<string, unknown>, item, of);
  }
  return inOrder(merged, patch, order, key);
}

/** Items that the order names come in its order; the others keep their place relative to their neighbours before. */
function inOrder(
  items: readonly unknown[],
  _patch: readonly unknown[],
  order: readonly unknown[] | undefined,
  key: string | undefined,
): unknown[] {
  if (order === undefined) return [...items];
  const idOf = (item: unknown): string => JSON.stringify(key !== undefined && isRecord(item) ? item[key] : item);
  const rank = new Map(order.map((item, i) => [idOf(item), i]));
  const named = items.filter((item) => rank.has(idOf(item))).sort((a, b) => rank.get(idOf(a))! - rank.get(idOf(b))!);
  const result: unknown[] = [];
  let next = 0;
  let seen = 0;
  const positions = new Map(items.map((item, i) => [item, i]));
  for (const item of items) {
    if (rank.has(idOf(item))) {
      seen++;
      continue;
    }
    while (next < named.length && next < seen && (positions.get(named[next]) ?? 0) < (positions.get(item) ?? 0))
      result.push(named[next++]);
    result.push(item);
  }
  return [...result, ...named.slice(next)];
}

function withoutDirectives(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutDirectives);
  if (!isRecord(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key, inner]) => !key.startsWith("$") && inner !== null)
      .map(([key, inner]) => [key, withoutDirectives(inner)]),
  );
}

const goMap = (value: Record<string, unknown>): string =>
  `map[${Object.keys(value)
    .sort()
    .map((key) => `${key}:${String(value[key])}`)
    .join(" ")}]`;
