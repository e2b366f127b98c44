import { Failure } from "#base";
import { goKind, goValue } from "./go-values.ts";
import { isRecord } from "./merge-patch.ts";
import { structOf, target, type Field, type Type } from "./schema.ts";

type Json = Record<string, unknown>;

/** What the API has a status for: `INVALID_PATCH` is a bad request, `PATCH_DOES_NOT_APPLY` cannot be processed. */
const bad = (message: string): Failure => new Failure("INVALID_ARGUMENT", "INVALID_PATCH", message);
/** And what it has none for. */
const broken = (message: string): Failure => new Failure("INVALID_ARGUMENT", "BROKEN_PATCH", message);
const noMergeKey = (item: Json, key: string): Failure =>
  broken(`map: ${goValue(item)} does not contain declared merge key: ${key}`);

const DELETE_FROM = "$deleteFromPrimitiveList";
const ORDER = "$setElementOrder";
const BAD_ORDER = "invalid patch format of setElementOrder list";

/**
 * Kubernetes' strategic merge patch of an object of type `typeName` (`v1.Pod`): lists merge by the schema's merge keys,
 * with the directives `$patch`, `$retainKeys`, `$setElementOrder/<list>` and `$deleteFromPrimitiveList/<list>`.
 * https://github.com/kubernetes/community/blob/main/contributors/devel/sig-api-machinery/strategic-merge-patch.md
 * Throws Failure `INVALID_PATCH`, `PATCH_DOES_NOT_APPLY` or `BROKEN_PATCH`.
 */
export function strategicMerge(original: unknown, patch: unknown, typeName: string): unknown {
  if (!isRecord(patch)) throw bad("a strategic merge patch must be an object");
  return mergeMap(isRecord(original) ? original : {}, patch, { kind: "struct", name: typeName });
}

function mergeMap(original: Json, patch: Json, type: Type): Json {
  const { $patch: directive, $retainKeys: retained, ...rest } = patch;
  if (directive === "replace") return withoutDirectives(rest);
  if (directive === "delete") return {};
  if (directive !== undefined) throw unknownDirective(directive, patch);
  const result = retained === undefined ? { ...original } : retain(original, rest, retained);
  const ordered = mergeOrdered(result, rest, type);
  for (const [name, value] of Object.entries(rest)) {
    const deletes = name.startsWith(DELETE_FROM);
    const key = deletes ? listName(name) : name;
    if (ordered.has(key) || name.startsWith(ORDER)) continue;
    const live = result[key];
    if (value === null) delete result[key];
    else if (live == null || goKind(live) !== goKind(value)) {
      if (!deletes) result[key] = withoutDirectives(value);
    } else if (isRecord(live)) result[key] = mergeMap(live, value as Json, memberType(type, key));
    else if (Array.isArray(live)) result[key] = mergeList(live, value as unknown[], fieldOf(type, key), deletes);
    else result[key] = value;
  }
  return result;
}

const unknownDirective = (directive: unknown, patch: Json): Failure =>
  broken(`unknown patch type: ${goValue(directive)} in map: ${goValue(patch)}`);

/** A field that is no member of a struct cannot be looked up; below a map nothing is. */
function fieldOf(type: Type, key: string): Field | undefined {
  if (type.kind !== "struct") return undefined;
  const field = structOf(type.name).get(key);
  const struct = type.name.replace(/^.*\./, "");
  if (field === undefined)
    throw broken(`unable to find api field in struct ${struct} for the json field ${JSON.stringify(key)}`);
  return field;
}

function memberType(type: Type, key: string): Type {
  const field = fieldOf(type, key);
  return field === undefined ? (type.kind === "map" ? target(type.of) : { kind: "any" }) : target(field.type);
}

function listName(name: string): string {
  const key = name.slice(DELETE_FROM.length);
  if (!key.startsWith("/")) throw bad("invalid patch format of primitive list");
  return key.slice(1);
}

/** `$retainKeys`: what it does not name goes, and the patch may set nothing else. */
function retain(original: Json, patch: Json, keys: unknown): Json {
  if (!Array.isArray(keys)) throw bad("invalid patch format of retainKeys");
  for (const [key, value] of Object.entries(patch))
    if (value !== null && !key.startsWith(DELETE_FROM) && !key.startsWith(ORDER) && !keys.includes(key))
      throw bad("invalid patch format of retainKeys");
  return Object.fromEntries(Object.entries(original).filter(([key]) => keys.includes(key)));
}

/** Merges and orders the lists that a `$setElementOrder` names, into `result`; which those are. */
function mergeOrdered(result: Json, patch: Json, type: Type): Set<string> {
  const done = new Set<string>();
  for (const [name, order] of Object.entries(patch)) {
    if (!name.startsWith(ORDER)) continue;
    if (!name.startsWith(`${ORDER}/`)) throw bad(BAD_ORDER);
    if (!Array.isArray(order)) throw wrongType("[]interface {}", order);
    const key = name.slice(ORDER.length + 1);
    const live = listOf(result[key]);
    const given = listOf(patch[key]);
    const field = fieldOf(type, key);
    if (given !== undefined) checkOrder(given, order, field?.mergeKey);
    const merged =
      given === undefined || live === undefined
        ? (live ?? withoutDirectives(given))
        : mergeList(live, given, field, false);
    if (merged === undefined) continue;
    result[key] = sorted(merged, order, live ?? [], field?.mergeKey);
    if (given !== undefined) done.add(key);
  }
  return done;
}

function listOf(value: unknown): unknown[] | undefined {
  if (value === undefined || value === null) return undefined;
  if (!Array.isArray(value)) throw wrongType("[]interface {}", value);
  return value;
}

/** The items of a patch that are no deletions must be among those of the order, in the same order. */
function checkOrder(patch: readonly unknown[], order: readonly unknown[], key: string | undefined): void {
  if (order.length === 0) return;
  let at = 0;
  for (const item of patch) {
    if (isRecord(item) && "$patch" in item) continue;
    const id = identity(item, key);
    while (at < order.length && identity(order[at], key) !== id) at++;
    if (at++ >= order.length)
      throw broken(`The order in patch list:\n${goValue(patch)}\n doesn't match ${ORDER} list:\n${goValue(order)}\n`);
  }
}

function mergeList(live: readonly unknown[], patch: readonly unknown[], field: Field | undefined, deletes: boolean) {
  if (field?.merges !== true) return patch.map(withoutDirectives);
  if (live.length === 0 && patch.length === 0) return [...live];
  const kind = elementKind(live, patch);
  if (kind !== "map") {
    if (deletes) return live.filter((item) => !patch.includes(item));
    return sorted([...new Set([...live, ...patch])], patch, live, undefined);
  }
  const key = field.mergeKey;
  if (key === undefined) throw broken("cannot merge lists without merge key for type struct");
  const { base, items } = takeDirectives(live as Json[], patch as Json[], key);
  const list = target(field.type);
  const of = list.kind === "list" ? target(list.of) : list;
  const merged = [...base];
  for (const item of items) {
    if (item[key] === undefined) throw noMergeKey(item, key);
    const at = merged.findIndex((other) => other[key] === item[key]);
    if (at < 0) merged.push(withoutDirectives(item));
    else merged[at] = mergeMap(merged[at] as Json, item, of);
  }
  return sorted(merged, items, base, key);
}

/** What of a list's items are directives is done: the items that stay, and those to merge into them. */
function takeDirectives(live: readonly Json[], patch: readonly Json[], key: string): { base: Json[]; items: Json[] } {
  let base = [...live];
  const items: Json[] = [];
  let replaces = false;
  for (const item of patch) {
    switch (item["$patch"]) {
      case undefined:
        items.push(item);
        break;
      case "delete":
        if (item[key] === undefined) throw noMergeKey(item, key);
        base = base.filter((other) => other[key] !== item[key]);
        break;
      case "replace":
        replaces = true;
        break;
      case "merge":
        throw broken("merging lists cannot yet be specified in the patch");
      default:
        throw unknownDirective(item["$patch"], item);
    }
  }
  return replaces ? { base: items.map(withoutDirectives), items: [] } : { base, items };
}

/** All items of the lists are of one kind, and none is a list. */
function elementKind(...lists: readonly (readonly unknown[])[]): string {
  const kinds = new Set(lists.flat(1).map(goKind));
  if (kinds.has("slice")) throw new Failure("FAILED_PRECONDITION", "PATCH_DOES_NOT_APPLY", "lists of lists");
  if (kinds.size > 1)
    throw broken(`list element types are not identical: ${goValue(lists.filter((list) => list.length > 0))}`);
  return [...kinds][0] ?? "map";
}

const identity = (item: unknown, key: string | undefined): string => {
  if (key === undefined) return JSON.stringify(item);
  if (!isRecord(item)) throw wrongType("map[string]interface {}", item);
  if (item[key] === undefined) throw noMergeKey(item, key);
  return JSON.stringify(item[key]);
};

const wrongType = (expected: string, value: unknown): Failure => {
  const types: Record<string, string> = { map: "map[string]interface {}", slice: "[]interface {}" };
  const kind = goKind(value);
  return broken(`expected a ${expected}, but received a ${types[kind] ?? kind}`);
};

/**
 * Items that `order` names come in its order. The others keep the order of the live list, and stand before the first named
 * item that came after them there; a named item that is new goes before them.
 */
function sorted(items: readonly unknown[], order: readonly unknown[], live: readonly unknown[], key?: string) {
  const ranks = (list: readonly unknown[]): Map<string, number> =>
    new Map(list.map((item, i) => [identity(item, key), i]));
  const rank = ranks(order);
  const place = ranks(live);
  const at = (map: ReadonlyMap<string, number>, item: unknown): number => map.get(identity(item, key)) ?? Infinity;
  const by = (map: ReadonlyMap<string, number>) => (a: unknown, b: unknown) => (at(map, a) < at(map, b) ? -1 : 1);
  const named = items.filter((item) => rank.has(identity(item, key))).sort(by(rank));
  const others = items.filter((item) => !rank.has(identity(item, key))).sort(by(place));
  const result: unknown[] = [];
  for (const next of named) {
    while (others.length > 0 && place.has(identity(next, key)) && at(place, others[0]) < at(place, next))
      result.push(others.shift());
    result.push(next);
  }
  return [...result, ...others];
}

/** A value that is new where it comes: what it asks to delete is not there anyway. */
function withoutDirectives<T>(value: T): T {
  if (Array.isArray(value)) {
    const items = value.filter((item) => !(isRecord(item) && "$patch" in item));
    return items.map((item: unknown) => withoutDirectives(item)) as T;
  }
  if (!isRecord(value)) return value;
  const kept = Object.entries(value).filter(([key, inner]) => !key.startsWith("$") && inner !== null);
  return Object.fromEntries(kept.map(([key, inner]) => [key, withoutDirectives(inner)])) as T;
}
