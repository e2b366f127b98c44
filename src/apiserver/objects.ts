import { decode, jsonEqual, type KubeObject, type ObjectMeta } from "#k8s";
import { checkPreconditions, isReleased, markDeleted, type DeleteOptions } from "./deletion.ts";
import { FieldErrors } from "./field-errors.ts";
import type { AnyObject, MutableMeta, Policy, Resource } from "./kinds/resource.ts";
import { generateName, newMeta, nextMeta, validateCoreFinalizers, validateMeta, validateMetaUpdate } from "./meta.ts";
import { CHANGED, StatusError, alreadyExists, badRequest, conflict, core, forbidden, notFound } from "./status.ts";
import type { Storage, Stored } from "./storage.ts";

export interface WriteOptions {
  readonly dryRun: boolean;
  /** Sets `managedFields` on the way in, from the object before and the one that will be stored. */
  readonly manage?: (object: AnyObject, before: AnyObject | undefined) => void;
}

/** What became of a deletion: the object as it last was, and whether it is gone. */
export interface Deleted {
  readonly stored: Stored;
  readonly gone: boolean;
}

const NAMES_TRIED = 8;
const IMMORTAL = ["default", "kube-system", "kube-public"];

/** What the API does to objects, one resource at a time, without HTTP. Nothing here yields: each call is one step. */
export class Objects {
  readonly storage: Storage;
  readonly policy: Policy;

  constructor(storage: Storage, policy: Policy) {
    this.storage = storage;
    this.policy = policy;
  }

  get(resource: Resource, namespace: string, name: string): Stored {
    const stored = this.storage.get(resource.storedAs, namespace, name);
    if (stored === undefined) throw notFound(resource, name);
    return stored;
  }

  create(resource: Resource, namespace: string, given: AnyObject, options: WriteOptions): Stored {
    const { metadata } = given;
    if (metadata.namespace !== undefined && metadata.namespace !== "" && metadata.namespace !== namespace)
      throw badRequest("the namespace of the provided object does not match the namespace sent on the request");
    if (metadata.resourceVersion !== undefined && metadata.resourceVersion !== "")
      throw new StatusError(500, "", "resourceVersion should not be set on objects to be created");
    if (resource.namespaced) this.#admitNamespace(resource, namespace, metadata.name ?? "");
    let object = toStored(resource, given);
    object.metadata = newMeta(object.metadata, namespace, resource.generations);
    for (let i = 0; metadata.generateName && !metadata.name && i < NAMES_TRIED; i++) {
      if (this.storage.get(resource.storedAs, namespace, object.metadata.name ?? "") === undefined) break;
      object.metadata.name = generateName(metadata.generateName);
    }
    resource.default?.(object, this.policy);
    // What is added from here on is the server's, and no manager's.
    options.manage?.(object, undefined);
    resource.prepareCreate?.(object, this.policy);
    const errors = new FieldErrors();
    validateMeta(object.metadata, resource.namespaced, resource.nameErrors, errors);
    if (resource.group === "") validateCoreFinalizers(object.metadata, errors);
    resource.validate?.(object, errors, this.policy);
    resource.validateNew?.(object, errors);
    const name = object.metadata.name ?? "";
    errors.check(resource.kind, resource.group, name);
    const existing = this.storage.get(resource.storedAs, namespace, name);
    if (existing !== undefined)
      throw alreadyExists(resource, name, existing.object.metadata?.deletionTimestamp !== undefined);
    resource.admit?.(object, (storedAs, space, of) => this.storage.get(storedAs, space, of)?.object);
    object = normal(resource, object);
    return this.#write(resource, namespace, name, object, options.dryRun);
  }

  /**
   * Replaces an object, or its status alone, by what `change` makes of a copy of it. What the client may not set is put
   * back. Where nothing changes nothing is written.
   */
  update(
    resource: Resource,
    namespace: string,
    name: string,
    change: (current: AnyObject) => AnyObject,
    options: WriteOptions & { readonly part?: "status" | "ephemeralcontainers" | undefined },
  ): Stored {
    const current = this.get(resource, namespace, name);
    const before = copy(current.object);
    const given = toStored(resource, change(fromStored(resource, current.object)));
    const meta = given.metadata;
    if (meta.namespace !== undefined && meta.namespace !== "" && meta.namespace !== namespace)
      throw badRequest("the namespace of the provided object does not match the namespace sent on the request");
    if (resource.needsVersion === true && !meta.resourceVersion) {
      const errors = new FieldErrors();
      errors.invalid("metadata.resourceVersion", 0, "must be specified for an update");
      errors.check(resource.resource, resource.group, name);
    }
    checkVersion(resource, name, meta, before.metadata);
    const object: AnyObject = {
      ...given,
      metadata: nextMeta(
        { ...meta, name: meta.name || name, ...(namespace === "" ? {} : { namespace }) },
        before.metadata,
      ),
    };
    resource.default?.(object, this.policy);
    if (options.part === "status") resource.prepareStatus?.(object, before);
    else if (options.part === "ephemeralcontainers") resource.prepareEphemeral?.(object, before);
    else resource.prepareUpdate?.(object, before, this.policy);
    const errors = new FieldErrors();
    this.#validateUpdate(resource, object, before, options.part, errors);
    errors.check(resource.kind, resource.group, object.metadata.name ?? name);
    if (resource.generations && options.part !== "status" && specChanged(object, before))
      object.metadata.generation = (before.metadata.generation ?? 0) + 1;
    options.manage?.(object, before);
    const next = normal(resource, object);
    if (sameButManagers(next, before)) return current;
    if (isReleased(next)) return this.#gone(resource, namespace, name, next, options.dryRun);
    return this.#write(resource, namespace, name, next, options.dryRun);
  }

  /** Upstream looks at metadata twice, for all kinds and for each, and tells a client of an error as often as it met it. */
  #validateUpdate(
    resource: Resource,
    object: AnyObject,
    before: AnyObject,
    part: "status" | "ephemeralcontainers" | undefined,
    errors: FieldErrors,
  ): void {
    const { metadata } = object;
    const whole = (): void => {
      validateMeta(metadata, resource.namespaced, resource.nameErrors, errors);
      if (resource.group === "") validateCoreFinalizers(metadata, errors);
    };
    validateMeta(metadata, resource.namespaced, () => [], errors);
    validateMetaUpdate(metadata, before.metadata, errors);
    validateMetaUpdate(metadata, before.metadata, errors);
    if (resource.group === "") validateCoreFinalizers(metadata, errors);
    if (part === "status") return resource.validateStatus?.(object, before, errors);
    if (part === "ephemeralcontainers") {
      whole();
      return resource.validateEphemeral?.(object, before, errors, this.policy);
    }
    if (resource.kind === "Pod") whole();
    resource.validateUpdate?.(object, before, errors, this.policy);
    if (resource.kind === "Pod") return;
    whole();
    resource.validate?.(object, errors, this.policy);
  }

  /** Deletes an object, or begins to: a Pod on a node gets its grace, and finalizers hold what they guard. */
  delete(resource: Resource, namespace: string, name: string, options: DeleteOptions): Deleted {
    const current = this.get(resource, namespace, name);
    const object = copy(current.object);
    checkPreconditions(resource, name, object.metadata, options.preconditions);
    if (resource.kind === "Namespace" && IMMORTAL.includes(name))
      throw forbidden(resource, name, "this namespace may not be deleted");
    const dryRun = options.dryRun === true;
    const fate = markDeleted(resource, object, options);
    if (fate === "as it was") return { stored: current, gone: false };
    const next = normal(resource, object);
    if (fate === "gone") return { stored: this.#gone(resource, namespace, name, next, dryRun), gone: true };
    if (jsonEqual(next, normal(resource, copy(current.object)))) return { stored: current, gone: false };
    return { stored: this.#write(resource, namespace, name, next, dryRun), gone: false };
  }

  /** Writes an object past all checks: for subresources that set what a client may not. */
  put(resource: Resource, namespace: string, name: string, object: AnyObject, dryRun = false): Stored {
    return this.#write(resource, namespace, name, normal(resource, object), dryRun);
  }

  /** Changes the metadata of an object past all checks. What was deleted and held by a finalizer goes with its last one. */
  amend(resource: Resource, namespace: string, name: string, change: (metadata: MutableMeta) => void): void {
    const object = copy(this.get(resource, namespace, name).object);
    change(object.metadata);
    const next = normal(resource, object);
    if (isReleased(next)) this.#remove(resource, namespace, name, next);
    else this.#write(resource, namespace, name, next, false);
  }

  /** Removes an object at once, whatever holds it. */
  remove(resource: Resource, namespace: string, name: string): Stored {
    return this.#remove(resource, namespace, name, copy(this.get(resource, namespace, name).object));
  }

  #gone(resource: Resource, namespace: string, name: string, object: AnyObject, dryRun: boolean): Stored {
    return dryRun ? made(resource, namespace, name, object) : this.#remove(resource, namespace, name, object);
  }

  #remove(resource: Resource, namespace: string, name: string, deleted: AnyObject): Stored {
    const [stored] = this.storage.write({ resource: resource.storedAs, namespace, name, deleted });
    return stored!;
  }

  #write(resource: Resource, namespace: string, name: string, object: AnyObject, dryRun: boolean): Stored {
    if (dryRun) return made(resource, namespace, name, object);
    const [stored] = this.storage.write({ resource: resource.storedAs, namespace, name, object });
    return stored!;
  }

  #admitNamespace(resource: Resource, namespace: string, name: string): void {
    const found = this.storage.get("namespaces", "", namespace);
    if (found === undefined) throw notFound(core("namespaces"), namespace);
    if (found.object.metadata?.deletionTimestamp === undefined) return;
    const why = `unable to create new content in namespace ${namespace} because it is being terminated`;
    const error = forbidden(resource, name, why);
    throw new StatusError(403, "Forbidden", error.message, {
      ...error.body.details,
      causes: [
        {
          reason: "NamespaceTerminating",
          message: `namespace ${namespace} is being terminated`,
          field: "metadata.namespace",
        },
      ],
    });
  }
}

const copy = (object: KubeObject): AnyObject => structuredClone(object) as AnyObject;

function toStored(resource: Resource, given: AnyObject): AnyObject {
  return structuredClone(resource.toStored?.(given) ?? given);
}

function fromStored(resource: Resource, object: KubeObject): AnyObject {
  return structuredClone(resource.fromStored?.(object) ?? object) as AnyObject;
}

/** The object as storage keeps it: every field in its place, empty ones left out, no kind. */
function normal(resource: Resource, object: AnyObject): AnyObject {
  const {
    kind: _kind,
    apiVersion: _version,
    ...rest
  } = decode(object, resource.fromStored === undefined ? resource.type : "v1.Event").value;
  return rest as AnyObject;
}

function made(resource: Resource, namespace: string, name: string, object: AnyObject): Stored {
  return { resource: resource.storedAs, namespace, name, version: 0, object, json: JSON.stringify(object) };
}

function checkVersion(resource: Resource, name: string, meta: ObjectMeta, before: ObjectMeta): void {
  if (meta.uid !== undefined && meta.uid !== "" && meta.uid !== before.uid)
    throw conflict(
      resource,
      name,
      `Precondition failed: UID in precondition: ${meta.uid}, UID in object meta: ${before.uid}`,
    );
  if (
    meta.resourceVersion !== undefined &&
    meta.resourceVersion !== "" &&
    meta.resourceVersion !== before.resourceVersion
  )
    throw conflict(resource, name, CHANGED);
}

/** All but metadata and status. */
function specChanged(object: AnyObject, before: AnyObject): boolean {
  const rest = ({ metadata: _m, status: _s, kind: _k, apiVersion: _a, ...others }: AnyObject): unknown => others;
  return !jsonEqual(rest(object), rest(before));
}

/** Whether only the times of managers differ: such a write says nothing new. */
function sameButManagers(next: AnyObject, before: AnyObject): boolean {
  const plain = (object: AnyObject): unknown => {
    const { resourceVersion: _v, managedFields, ...metadata } = object.metadata;
    const managers = managedFields?.map(({ time: _t, ...manager }) => manager);
    return { ...object, metadata: { ...metadata, managers } };
  };
  return jsonEqual(plain(next), plain(before));
}
