import {
  compareFields,
  fieldsOf,
  fromFieldsV1,
  isWithin,
  itemStep,
  memberOf,
  showPath,
  steps,
  toFieldsV1,
  type FieldSet,
  type Merge,
} from "./field-sets.ts";
import { isRecord, jsonEqual } from "./merge-patch.ts";
import { structOf } from "./schema.ts";

/** An entry of `metadata.managedFields`. */
export interface ManagedFieldsEntry {
  manager?: string;
  operation?: string;
  apiVersion?: string;
  time?: string;
  fieldsType?: string;
  fieldsV1?: object;
  subresource?: string;
}

/** Who writes. */
export interface FieldManager {
  readonly name: string;
  readonly apiVersion: string;
  /** "" for the object itself. */
  readonly subresource: string;
  readonly time: string;
}

interface Owner {
  readonly entry: ManagedFieldsEntry;
  fields: FieldSet;
}

/** What identity and the server decide: no manager has it. */
const SERVERS = [
  "apiVersion",
  "kind",
  ...[
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "generation",
    "managedFields",
    "resourceVersion",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generateName",
  ].map((field) => `metadata\u0000f:${field}`),
].map((path) => `f:${path}`);

function tracked(set: FieldSet, type: string, subresource: string): FieldSet {
  const fields = structOf(type);
  const split = fields.has("spec") && fields.has("status");
  const kept = new Set<string>();
  for (const path of set) {
    if (SERVERS.some((server) => path === server || isWithin(path, server)) || path === "f:metadata") continue;
    if (split && subresource === "" && (path === "f:status" || isWithin(path, "f:status"))) continue;
    kept.add(path);
  }
  return kept;
}

const ownersOf = (managers: readonly ManagedFieldsEntry[]): Owner[] =>
  managers.map((entry) => ({ entry, fields: fromFieldsV1(entry.fieldsV1) }));

const is = (entry: ManagedFieldsEntry, operation: string, { name, apiVersion, subresource }: FieldManager): boolean =>
  entry.operation === operation &&
  entry.manager === name &&
  entry.apiVersion === apiVersion &&
  (entry.subresource ?? "") === subresource;

function entryOf(operation: string, manager: FieldManager): ManagedFieldsEntry {
  return {
    manager: manager.name,
    operation,
    apiVersion: manager.apiVersion,
    time: manager.time,
    fieldsType: "FieldsV1",
    ...(manager.subresource === "" ? {} : { subresource: manager.subresource }),
  };
}

function written(owners: readonly Owner[], before: readonly ManagedFieldsEntry[]): ManagedFieldsEntry[] {
  return owners
    .filter((owner) => owner.fields.size > 0)
    .map(({ entry, fields }) => {
      const fieldsV1 = toFieldsV1(fields);
      const old = before.find((other) =>
        jsonEqual({ ...other, time: 0, fieldsV1: 0 }, { ...entry, time: 0, fieldsV1: 0 }),
      );
      const same = old !== undefined && jsonEqual(old.fieldsV1, fieldsV1);
      return { ...entry, ...(same && old.time !== undefined ? { time: old.time } : {}), fieldsV1 };
    });
}

const without = (set: FieldSet, gone: FieldSet): FieldSet => new Set([...set].filter((path) => !gone.has(path)));

/** The managers after a write that is no apply: what changed is the writer's now, and nobody else's. */
export function recordUpdate(write: {
  readonly before: object | undefined;
  readonly after: object;
  readonly type: string;
  readonly managers: readonly ManagedFieldsEntry[];
  readonly manager: FieldManager;
}): ManagedFieldsEntry[] {
  const { before, after, type, managers, manager } = write;
  const merge: Merge = { kind: "struct", type: { kind: "struct", name: type } };
  const { added, modified, removed } = compareFields(before ?? {}, after, merge);
  const mine = tracked(new Set([...added, ...modified]), type, manager.subresource);
  const owners = ownersOf(managers);
  for (const owner of owners) owner.fields = without(without(owner.fields, modified), removed);
  if (mine.size > 0) {
    const own = owners.find((owner) => is(owner.entry, "Update", manager));
    if (own === undefined) owners.push({ entry: entryOf("Update", manager), fields: mine });
    else {
      own.fields = new Set([...own.fields, ...mine]);
      Object.assign(own, { entry: { ...own.entry, time: manager.time } });
    }
  }
  return written(owners, managers);
}

export interface FieldConflict {
  /** `"name" using v1`. */
  readonly manager: string;
  readonly path: string;
}

export interface Applied {
  readonly object: Record<string, unknown>;
  readonly managers: ManagedFieldsEntry[];
  /** What others have and this apply would change; empty where it was forced. */
  readonly conflicts: readonly FieldConflict[];
}

/**
 * Server-side apply: `applied` merged into `live`. Fields this manager applied before and no longer names go, unless another
 * has them too. https://kubernetes.io/docs/reference/using-api/server-side-apply/
 */
export function applyFields(request: {
  readonly live: Record<string, unknown> | undefined;
  readonly applied: object;
  readonly type: string;
  readonly managers: readonly ManagedFieldsEntry[];
  readonly manager: FieldManager;
  readonly force: boolean;
}): Applied {
  const { live, type, managers, manager, force } = request;
  const root: Merge = { kind: "struct", type: { kind: "struct", name: type } };
  const applied = pruneNulls(request.applied);
  const mine = tracked(fieldsOf(applied, root), type, manager.subresource);
  const owners = ownersOf(managers);
  const own = owners.find((owner) => is(owner.entry, "Apply", manager));
  const others = owners.filter((owner) => owner !== own);
  let merged = mergeApplied(live ?? {}, applied, root) as Record<string, unknown>;
  const dropped = [...(own?.fields ?? [])].filter(
    (path) =>
      !mine.has(path) &&
      ![...mine].some((kept) => isWithin(kept, path)) &&
      !others.some(({ fields }) => fields.has(path) || [...fields].some((kept) => isWithin(kept, path))),
  );
  for (const path of dropped.sort((a, b) => b.length - a.length))
    merged = removeAt(merged, steps(path), root) as Record<string, unknown>;
  const { modified, added } = compareFields(live ?? {}, merged, root);
  const conflicts: FieldConflict[] = [];
  for (const other of others) {
    const lost = [...other.fields].filter((path) => mine.has(path) && (modified.has(path) || added.has(path)));
    if (force) other.fields = without(other.fields, new Set(lost));
    else
      for (const path of lost) {
        const using = other.entry.operation === "Update" ? ` using ${other.entry.apiVersion}` : "";
        const part = other.entry.subresource === undefined ? "" : ` with subresource "${other.entry.subresource}"`;
        conflicts.push({ manager: `"${other.entry.manager}"${part}${using}`, path: showPath(path) });
      }
  }
  const next = [{ entry: entryOf("Apply", manager), fields: mine }, ...others];
  return { object: merged, managers: written(next, managers), conflicts };
}

function pruneNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(pruneNulls);
  if (!isRecord(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, inner]) => inner !== null)
      .map(([key, inner]) => [key, pruneNulls(inner)]),
  );
}

function mergeApplied(live: unknown, applied: unknown, merge: Merge): unknown {
  if ((merge.kind === "struct" || merge.kind === "map") && isRecord(live) && isRecord(applied)) {
    const result = { ...live };
    for (const [key, value] of Object.entries(applied)) {
      if (key === "managedFields" && merge.type.kind === "struct" && merge.type.name.endsWith("ObjectMeta")) continue;
      result[key] = mergeApplied(result[key], value, memberOf(merge.type, key));
    }
    return result;
  }
  if (merge.kind === "set" && Array.isArray(live) && Array.isArray(applied))
    return [...live, ...applied.filter((item) => !live.includes(item))] as unknown[];
  if (merge.kind === "items" && Array.isArray(applied)) {
    const inner: Merge = { kind: "struct", type: merge.type };
    const result = Array.isArray(live) ? [...(live as unknown[])] : [];
    for (const item of applied as unknown[]) {
      const step = itemStep(item, merge.keys);
      const at = result.findIndex((other) => itemStep(other, merge.keys) === step);
      if (at < 0) result.push(item);
      else result[at] = mergeApplied(result[at], item, inner);
    }
    return result;
  }
  return applied;
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
