import {
  compareFields,
  fieldsOf,
  inOrder,
  itemStep,
  join,
  memberOf,
  showPath,
  steps,
  type FieldSet,
  type Merge,
} from "./field-sets.ts";
import { goJson } from "./go-values.ts";
import {
  byText,
  entryOf,
  identifier,
  is,
  only,
  ownersOf,
  recordUpdate,
  rootOf,
  SERVERS,
  settable,
  without,
  written,
  type FieldManager,
  type ManagedFieldsEntry,
} from "./managed-fields.ts";
import { isRecord, jsonEqual } from "./merge-patch.ts";
import { typeErrors } from "./typed.ts";
import type { KubeObject, ObjectMeta } from "./types.ts";

export interface FieldConflict {
  /** `"name" using v1`. */
  readonly manager: string;
  readonly path: string;
}

export interface Applied {
  readonly object: Record<string, unknown>;
  readonly managers: ManagedFieldsEntry[];
  /** What others have and this apply would change, by manager; empty where it was forced. */
  readonly conflicts: readonly FieldConflict[];
}

/**
 * Server-side apply: `applied` merged into `live`. Fields this manager applied before and no longer names go, unless another
 * has them too. https://kubernetes.io/docs/reference/using-api/server-side-apply/
 * A conflict over what `kubectl apply` itself wrote before, client-side, is none to `kubectl`.
 */
export function applyFields(request: {
  readonly live: Record<string, unknown> | undefined;
  readonly applied: Record<string, unknown>;
  readonly type: string;
  readonly managers: readonly ManagedFieldsEntry[];
  readonly manager: FieldManager;
  readonly force: boolean;
}): Applied {
  const { live, type, manager, force } = request;
  const root = rootOf(type);
  const may = settable(type, manager.subresource);
  const applied = only(fieldsOf(request.applied, root), may);
  const owners = ownersOf(request.managers.length > 0 ? request.managers : firstManagers(live, type, manager));
  const own = owners.find((owner) => is(owner.entry, "Apply", manager));
  const others = owners.filter((owner) => owner !== own);
  const merged = mergeApplied(live ?? {}, request.applied, root);
  const object = pruned(merged, own?.fields ?? new Set(), [applied, ...others.map((owner) => owner.fields)], root);
  const { modified, added, removed } = compareFields(live ?? {}, object, root);
  const changed = only(modified.union(added), may);
  const known = manager.name === "kubectl" ? lastAppliedFields(live, type, manager.apiVersion) : undefined;
  const disputed = others
    .toSorted((a, b) => byText(identifier(a.entry), identifier(b.entry)))
    .flatMap(({ entry, fields }) => inOrder(fields.intersection(changed)).map((path) => ({ entry, path })))
    .filter(({ path }) => known?.has(path) !== true);
  if (!force && disputed.length > 0) {
    const conflicts = disputed.map(({ entry, path }) => ({ manager: managerName(entry), path: showPath(path) }));
    return { object, managers: [], conflicts };
  }
  for (const other of others) other.fields = without(without(other.fields, changed), only(removed, may));
  const fields = without(applied, SERVERS);
  const same =
    own !== undefined && changed.size + removed.size === 0 && jsonEqual([...fields].sort(), [...own.fields].sort());
  const entry = entryOf("Apply", manager);
  const next = { entry: same ? { ...entry, time: own.entry.time ?? manager.time } : entry, fields };
  return { object, managers: written([next, ...others]), conflicts: [] };
}

/** Of an object that nobody manages yet, all is whose it was before. */
function firstManagers(live: Record<string, unknown> | undefined, type: string, manager: FieldManager) {
  if (live === undefined) return [];
  const first = { ...manager, name: "before-first-apply" };
  return recordUpdate({ before: undefined, after: live, type, managers: [], manager: first });
}

function managerName({ manager, operation, apiVersion, subresource }: ManagedFieldsEntry): string {
  const part = subresource === undefined ? "" : ` with subresource "${subresource}"`;
  return `"${manager}"${part}${operation === "Update" ? ` using ${apiVersion}` : ""}`;
}

const LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration";

/** What `kubectl apply` noted that it wrote, as far as it is still so. */
function lastAppliedFields(live: KubeObject | undefined, type: string, apiVersion: string): FieldSet | undefined {
  let noted: unknown;
  try {
    noted = JSON.parse(live?.metadata?.annotations?.[LAST_APPLIED] ?? "");
  } catch {
    return undefined;
  }
  if (!isRecord(noted) || noted["apiVersion"] !== apiVersion || typeErrors(noted, type).length > 0) return undefined;
  const { modified, added, removed } = compareFields(noted, live, rootOf(type));
  return without(fieldsOf(noted, rootOf(type)), modified.union(added).union(removed));
}

/**
 * Brings the note that `kubectl apply` keeps on an object up to date, where it has one: so that who goes back to applying on
 * the client's side loses nothing.
 */
export function noteLastApplied(object: KubeObject, applied: Record<string, unknown>): void {
  const annotations = object.metadata?.annotations;
  if (!annotations?.[LAST_APPLIED]) return;
  const { [LAST_APPLIED]: _, ...others } = ((applied["metadata"] as ObjectMeta).annotations ?? {}) as Record<
    string,
    string
  >;
  const metadata = {
    ...(applied["metadata"] as object),
    annotations: Object.keys(others).length > 0 ? others : undefined,
  };
  annotations[LAST_APPLIED] = `${goJson({ ...applied, metadata })}\n`;
}

function mergeApplied(live: unknown, applied: unknown, merge: Merge): unknown {
  if ((merge.kind === "struct" || merge.kind === "map") && isRecord(live) && isRecord(applied)) {
    const result = { ...live };
    for (const [key, value] of Object.entries(applied))
      result[key] = mergeApplied(result[key], value, memberOf(merge.type, key));
    return result;
  }
  if ((merge.kind === "set" || merge.kind === "items") && Array.isArray(applied)) {
    const step = (item: unknown): string => (merge.kind === "set" ? JSON.stringify(item) : itemStep(item, merge.keys));
    const inner: Merge = merge.kind === "set" ? { kind: "leaf" } : { kind: "struct", type: merge.type };
    return mergeItems(Array.isArray(live) ? live : [], applied, step, (a, b) => mergeApplied(a, b, inner));
  }
  return applied;
}

/**
 * The items of both lists. Those that are applied come in the order they are applied in; the others keep their place before
 * what followed them.
 */
function mergeItems(
  live: readonly unknown[],
  applied: readonly unknown[],
  step: (item: unknown) => string,
  merge: (live: unknown, applied: unknown) => unknown,
): unknown[] {
  const old = new Map(live.map((item) => [step(item), item]));
  const named = new Set(applied.map(step));
  const shared = applied.map(step).filter((one) => old.has(one));
  const rest = [...live];
  const result: unknown[] = [];
  for (const item of applied) {
    const id = step(item);
    // What comes before the next item that both have, and is not applied, stays before it; one out of turn waits for its own.
    for (let next = rest[0]; next !== undefined; next = rest[0]) {
      const nextId = step(next);
      if (named.has(nextId) && (nextId === shared[0] || nextId === id)) break;
      if (!named.has(nextId)) result.push(next);
      rest.shift();
    }
    result.push(merge(old.get(id), item));
    if (id === shared[0]) shared.shift();
    if (rest.length > 0 && step(rest[0]) === id) rest.shift();
  }
  return [...result, ...rest.filter((item) => !named.has(step(item)))];
}

/** The object without what `before` names and nothing that is kept does, nor is in it. */
function pruned(object: unknown, before: FieldSet, kept: readonly FieldSet[], root: Merge): Record<string, unknown> {
  const stays = new Set(kept.flatMap((set) => [...set].flatMap(withAncestors)));
  const dropped = new Set([...before].flatMap(withAncestors).filter((path) => !stays.has(path)));
  let result = object;
  // From the outside in: an item can be found only as long as it has its keys.
  for (const path of [...dropped].sort((a, b) => a.length - b.length)) result = removeAt(result, steps(path), root);
  return result as Record<string, unknown>;
}

/** A path and those above it that are no items: an item is there by its own right. */
function withAncestors(path: string): string[] {
  const parts = steps(path);
  const above = parts.slice(0, -1).map((step, i) => ({ step, at: parts.slice(0, i + 1).reduce(join) }));
  return [...above.filter(({ step }) => !step.startsWith("k:")).map(({ at }) => at), path];
}

function removeAt(value: unknown, path: readonly string[], merge: Merge): unknown {
  const [step = "", ...rest] = path;
  const name = step.slice(2);
  if (step.startsWith("f:") && isRecord(value) && (merge.kind === "struct" || merge.kind === "map")) {
    if (!(name in value)) return value;
    const result = { ...value };
    if (rest.length === 0) delete result[name];
    else result[name] = removeAt(value[name], rest, memberOf(merge.type, name));
    return result;
  }
  if (step.startsWith("v:") && Array.isArray(value)) return value.filter((item) => JSON.stringify(item) !== name);
  if (step.startsWith("k:") && Array.isArray(value) && merge.kind === "items") {
    const inner: Merge = { kind: "struct", type: merge.type };
    return (value as unknown[]).flatMap((item) =>
      itemStep(item, merge.keys) !== step ? [item] : rest.length === 0 ? [] : [removeAt(item, rest, inner)],
    );
  }
  return value;
}
