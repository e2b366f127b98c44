import type { ObjectMeta } from "#k8s";
import { apiVersionOf, type MutableMeta, type Resource } from "./kinds/resource.ts";
import { DELETES_DEPENDENTS, ORPHANS_DEPENDENTS } from "./meta.ts";
import type { Objects } from "./objects.ts";
import type { Change, Stored } from "./storage.ts";

type Owner = NonNullable<ObjectMeta["ownerReferences"]>[number];

/** One object, wherever it is by now. */
interface Place {
  readonly resource: Resource;
  readonly namespace: string;
  readonly name: string;
}

/** What has become of an object's owners. */
interface Owners {
  readonly solid: readonly Owner[];
  /** They are gone. */
  readonly dangling: readonly Owner[];
  /** They go once their dependents are gone. */
  readonly waiting: readonly Owner[];
}

const finalizersOf = (meta: ObjectMeta | undefined): readonly string[] => meta?.finalizers ?? [];
const isDeleted = (meta: ObjectMeta | undefined): boolean => meta?.deletionTimestamp !== undefined;
const deletesDependents = (meta: ObjectMeta | undefined): boolean =>
  isDeleted(meta) && finalizersOf(meta).includes(DELETES_DEPENDENTS);
const orphansDependents = (meta: ObjectMeta | undefined): boolean =>
  isDeleted(meta) && finalizersOf(meta).includes(ORPHANS_DEPENDENTS);
const ownersOf = (meta: ObjectMeta | undefined): readonly Owner[] => meta?.ownerReferences ?? [];

/**
 * Kubernetes' garbage collector: deletes what no owner holds any more, takes gone owners off what others still hold, and
 * carries out deletions in the foreground and those that orphan. Owners of kinds that this server does not have are left alone.
 */
export class Collector {
  readonly #objects: Objects;
  readonly #resources: readonly Resource[];
  /** Who names an owner, by the owner's uid. */
  readonly #dependents = new Map<string, Map<string, Place>>();
  readonly #due = new Map<string, Place>();
  readonly #wake: () => void;

  /** `wake` is called when there is something to {@link run}. */
  constructor(objects: Objects, resources: readonly Resource[], wake: () => void) {
    this.#objects = objects;
    this.#resources = resources;
    this.#wake = wake;
  }

  /** Takes note of an object that was there before. */
  add(resource: Resource, stored: Stored): void {
    this.see(resource, { type: "ADDED", version: stored.version, stored });
  }

  /** Takes note of a change. */
  see(resource: Resource, { type, stored, before }: Change): void {
    const place = { resource, namespace: stored.namespace, name: stored.name };
    const meta = stored.object.metadata;
    const old = before?.object.metadata;
    const gone = type === "DELETED";
    for (const { uid } of ownersOf(old)) this.#unlink(uid, place);
    if (!gone) for (const { uid } of ownersOf(meta)) this.#link(uid, place);
    const stirs = gone || deletesDependents(meta) !== deletesDependents(old);
    if (stirs) for (const dependent of this.#dependentsOf(meta?.uid)) this.#enqueue(dependent);
    // An owner that waits for its dependents may wait for this one no more.
    for (const owner of ownersOf(old)) {
      const held = this.#find(owner, stored.namespace);
      if (held !== undefined && deletesDependents(held.stored?.object.metadata)) this.#enqueue(held.place);
    }
    const marked = deletesDependents(meta) || orphansDependents(meta);
    if (!gone && (marked || ownersOf(meta).length > 0)) this.#enqueue(place);
  }

  /** Does the next thing that is due, and asks to be woken again for what is left. */
  run(): void {
    for (const [key, place] of this.#due) {
      this.#due.delete(key);
      if (this.#due.size > 0) this.#wake();
      this.#attempt(place);
      return;
    }
  }

  #attempt(place: Place): void {
    const { resource, namespace, name } = place;
    const meta = this.#metaOf(place);
    if (meta === undefined) return;
    if (orphansDependents(meta)) return this.#orphan(place, meta);
    if (deletesDependents(meta)) return this.#awaitDependents(place, meta);
    if (isDeleted(meta)) return;
    const owners = this.#classify(meta, place);
    if (owners === undefined) return;
    const { solid, dangling, waiting } = owners;
    if (solid.length > 0) {
      const kept = new Set(solid.map(({ uid }) => uid));
      if (dangling.length + waiting.length > 0) this.#keepOwners(place, (owner) => kept.has(owner.uid));
      return;
    }
    const dependents = [...this.#dependentsOf(meta.uid)];
    const foreground = waiting.length > 0 && dependents.length > 0;
    // In a circle of owners each would wait for the next.
    if (foreground && dependents.some((one) => deletesDependents(this.#metaOf(one))))
      this.#objects.amend(resource, namespace, name, unblock);
    const policy = foreground ? { propagationPolicy: "Foreground" } : {};
    this.#objects.delete(resource, namespace, name, { preconditions: { uid: meta.uid ?? "" }, ...policy });
  }

  #awaitDependents(place: Place, { uid }: ObjectMeta): void {
    const blocking = [...this.#dependentsOf(uid)].filter((one) =>
      ownersOf(this.#metaOf(one)).some((owner) => owner.uid === uid && owner.blockOwnerDeletion === true),
    );
    if (blocking.length === 0) this.#release(place, DELETES_DEPENDENTS);
  }

  #orphan(place: Place, { uid }: ObjectMeta): void {
    for (const dependent of this.#dependentsOf(uid)) this.#keepOwners(dependent, (owner) => owner.uid !== uid);
    this.#release(place, ORPHANS_DEPENDENTS);
  }

  /** Undefined for an object without owners, or where one of them cannot be told. */
  #classify(meta: ObjectMeta, place: Place): Owners | undefined {
    const solid: Owner[] = [];
    const dangling: Owner[] = [];
    const waiting: Owner[] = [];
    const owners = ownersOf(meta);
    for (const owner of owners) {
      const found = this.#find(owner, place.namespace);
      if (found === undefined) return undefined;
      const held = found.stored?.object.metadata;
      if (held?.uid !== owner.uid) dangling.push(owner);
      else if (deletesDependents(held)) waiting.push(owner);
      else solid.push(owner);
    }
    return owners.length === 0 ? undefined : { solid, dangling, waiting };
  }

  /** What a reference points to; undefined where this server does not know the kind, or it cannot be an owner there. */
  #find({ apiVersion, kind, name }: Owner, namespace: string): { place: Place; stored?: Stored } | undefined {
    const resource = this.#resources.find((one) => one.kind === kind && apiVersionOf(one) === apiVersion);
    if (resource === undefined || (resource.namespaced && namespace === "")) return undefined;
    const place = { resource, namespace: resource.namespaced ? namespace : "", name };
    const stored = this.#objects.storage.get(resource.storedAs, place.namespace, name);
    return stored === undefined ? { place } : { place, stored };
  }

  #keepOwners({ resource, namespace, name }: Place, keep: (owner: Owner) => boolean): void {
    this.#objects.amend(resource, namespace, name, (meta) => {
      meta.ownerReferences = ownersOf(meta).filter(keep);
    });
  }

  #release({ resource, namespace, name }: Place, finalizer: string): void {
    this.#objects.amend(resource, namespace, name, (meta) => {
      meta.finalizers = finalizersOf(meta).filter((one) => one !== finalizer);
    });
  }

  #metaOf({ resource, namespace, name }: Place): ObjectMeta | undefined {
    return this.#objects.storage.get(resource.storedAs, namespace, name)?.object.metadata;
  }

  #dependentsOf(uid: string | undefined): Iterable<Place> {
    return [...(this.#dependents.get(uid ?? "")?.values() ?? [])];
  }

  #link(uid: string, place: Place): void {
    let all = this.#dependents.get(uid);
    if (all === undefined) this.#dependents.set(uid, (all = new Map()));
    all.set(keyOf(place), place);
  }

  #unlink(uid: string, place: Place): void {
    const all = this.#dependents.get(uid);
    if (all?.delete(keyOf(place)) === true && all.size === 0) this.#dependents.delete(uid);
  }

  #enqueue(place: Place): void {
    if (this.#due.size === 0) this.#wake();
    this.#due.set(keyOf(place), place);
  }
}

const keyOf = ({ resource, namespace, name }: Place): string => `${resource.storedAs} ${namespace}/${name}`;

function unblock(meta: MutableMeta): void {
  meta.ownerReferences = ownersOf(meta).map((owner) => ({ ...owner, blockOwnerDeletion: false }));
}
