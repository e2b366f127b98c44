import { decode } from "./codec.ts";
import { compareFields, fromFieldsV1, isWithin, join, toFieldsV1, type FieldSet, type Merge } from "./field-sets.ts";
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

export interface Owner {
  readonly entry: ManagedFieldsEntry;
  fields: FieldSet;
}

/** What identity and the server decide: no manager has it. */
export const SERVERS = new Set(
  [
    "apiVersion",
    "kind",
    "metadata",
    ...["name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName"].map((field) => ["metadata", field]),
    ...["generation", "managedFields", "resourceVersion"].map((field) => ["metadata", field]),
  ].map((names) => pathOf([names].flat())),
);
const STATUS = pathOf(["status"]);
const SPEC = pathOf(["spec"]);
const EPHEMERAL = pathOf(["spec", "ephemeralContainers"]);
const OWNERS = ["deletionTimestamp", "ownerReferences"].map((field) => pathOf(["metadata", field]));

function pathOf(names: readonly string[]): string {
  return names.map((name) => `f:${name}`).reduce(join);
}

/** What a write through that path may set, of what it names: the rest is put back, and so no manager gets it. */
export function settable(type: string, subresource: string): (path: string) => boolean {
  const under = (path: string, root: string): boolean => path === root || isWithin(path, root);
  if (subresource === "ephemeralcontainers") return (path) => under(path, EPHEMERAL);
  const fields = structOf(type);
  if (!fields.has("spec") || !fields.has("status")) return () => true;
  if (subresource === "") return (path) => !under(path, STATUS);
  const kept = [SPEC, ...(type === "v1.Pod" ? OWNERS : [])];
  return (path) => !kept.some((root) => under(path, root));
}

export const only = (set: FieldSet, keep: (path: string) => boolean): FieldSet => new Set([...set].filter(keep));
export const without = (set: FieldSet, gone: ReadonlySet<string>): FieldSet => only(set, (path) => !gone.has(path));

export const rootOf = (type: string): Merge => ({ kind: "struct", type: { kind: "struct", name: type } });

export const ownersOf = (managers: readonly ManagedFieldsEntry[]): Owner[] =>
  managers.map((entry) => ({ entry, fields: fromFieldsV1(entry.fieldsV1) }));

/** One who applies is the same in every version of the API. */
export const is = (
  entry: ManagedFieldsEntry,
  operation: string,
  { name, apiVersion, subresource }: FieldManager,
): boolean =>
  entry.operation === operation &&
  entry.manager === name &&
  (operation === "Apply" || entry.apiVersion === apiVersion) &&
  (entry.subresource ?? "") === subresource;

export function entryOf(operation: string, manager: FieldManager): ManagedFieldsEntry {
  return {
    manager: manager.name,
    operation,
    apiVersion: manager.apiVersion,
    time: manager.time,
    fieldsType: "FieldsV1",
    ...(manager.subresource === "" ? {} : { subresource: manager.subresource }),
  };
}

const MOST_UPDATERS = 10;

/** The oldest updates share one entry for each version, so that no more than ten entries are updates. */
function capped(owners: readonly Owner[]): Owner[] {
  const updates = owners.filter((owner) => owner.entry.operation === "Update").sort(oldestFirst);
  let excess = updates.length - MOST_UPDATERS;
  const firsts = new Map<string, Owner>();
  const gone = new Set<Owner>();
  const ancient: Owner[] = [];
  for (const owner of updates) {
    if (excess <= 0) break;
    const version = owner.entry.apiVersion ?? "";
    const first = firsts.get(version);
    if (first === undefined) {
      firsts.set(version, owner);
      continue;
    }
    const manager = { name: "ancient-changes", apiVersion: version, subresource: "", time: owner.entry.time ?? "" };
    const bucket = { entry: entryOf("Update", manager), fields: new Set([...first.fields, ...owner.fields]) };
    firsts.set(version, bucket);
    gone.add(owner).add(first);
    ancient.push(bucket);
    excess--;
  }
  return [...owners, ...ancient].filter((owner) => !gone.has(owner));
}

const secondsOf = (entry: ManagedFieldsEntry): number => Date.parse(entry.time ?? "") || 0;
export const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
const oldestFirst = ({ entry: a }: Owner, { entry: b }: Owner): number =>
  secondsOf(a) - secondsOf(b) || byText(identifier(a), identifier(b));

/** What tells a manager from the others, as upstream orders them by it. */
export function identifier({ manager, operation, apiVersion, subresource }: ManagedFieldsEntry): string {
  return JSON.stringify({
    manager,
    operation,
    ...(operation === "Apply" ? {} : { apiVersion }),
    ...(subresource === undefined ? {} : { subresource }),
  });
}

/** Entries as they are kept: none without fields, those that apply first, then the oldest. */
export function written(owners: readonly Owner[]): ManagedFieldsEntry[] {
  return owners
    .filter((owner) => owner.fields.size > 0)
    .map(({ entry, fields }) => ({ ...entry, fieldsV1: toFieldsV1(fields) }))
    .sort(
      (a, b) =>
        byText(a.operation ?? "", b.operation ?? "") ||
        secondsOf(a) - secondsOf(b) ||
        byText(a.manager ?? "", b.manager ?? "") ||
        byText(a.apiVersion ?? "", b.apiVersion ?? "") ||
        byText(a.subresource ?? "", b.subresource ?? ""),
    );
}

/** The managers after a write that is no apply: what changed is the writer's now, and nobody else's. */
export function recordUpdate(write: {
  readonly before: object | undefined;
  readonly after: object;
  readonly type: string;
  readonly managers: readonly ManagedFieldsEntry[];
  readonly manager: FieldManager;
}): ManagedFieldsEntry[] {
  const { before, after, type, managers, manager } = write;
  const compared = compareFields(before ?? decode({}, type).value, after, rootOf(type));
  const may = settable(type, manager.subresource);
  const changed = only(new Set([...compared.added, ...compared.modified]), may);
  const owners = ownersOf(managers);
  for (const owner of owners) owner.fields = without(without(owner.fields, changed), only(compared.removed, may));
  const mine = without(changed, SERVERS);
  if (mine.size > 0) {
    const own = owners.find((owner) => is(owner.entry, "Update", manager));
    if (own === undefined) owners.push({ entry: entryOf("Update", manager), fields: mine });
    else Object.assign(own, { entry: { ...own.entry, time: manager.time }, fields: own.fields.union(mine) });
  }
  return written(capped(owners));
}
