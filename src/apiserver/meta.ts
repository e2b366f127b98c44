import { randomInt, randomUUID } from "node:crypto";
import { isTerminating, timestamp, type ObjectMeta, type OwnerReference } from "#k8s";
import type { FieldErrors } from "./field-errors.ts";
import { dnsLabelErrors, dnsSubdomainErrors, qualifiedNameErrors, validateLabels } from "./names.ts";

const ALPHABET = "bcdfghjklmnpqrstvwxz2456789";

/** A name from `generateName`: five letters that make no words. */
export function generateName(prefix: string): string {
  let suffix = "";
  for (let i = 0; i < 5; i++) suffix += ALPHABET[randomInt(ALPHABET.length)];
  return prefix.slice(0, 58) + suffix;
}

/** The metadata of a new object: what the server sets, whatever the client asked. */
export function newMeta(given: ObjectMeta | undefined, namespace: string, hasGeneration: boolean): ObjectMeta {
  const { name, generateName: prefix, labels, annotations, ownerReferences, finalizers, managedFields } = given ?? {};
  return defined({
    name: name || (prefix ? generateName(prefix) : undefined),
    generateName: prefix,
    namespace: namespace === "" ? undefined : namespace,
    uid: randomUUID(),
    generation: hasGeneration ? 1 : undefined,
    creationTimestamp: timestamp(),
    labels,
    annotations,
    ownerReferences,
    finalizers,
    managedFields,
  });
}

/** The metadata after an update: what a client may not change is taken from before. */
export function nextMeta(given: ObjectMeta | undefined, before: ObjectMeta): ObjectMeta {
  return defined({
    ...given,
    generateName: before.generateName,
    uid: before.uid,
    generation: before.generation,
    creationTimestamp: before.creationTimestamp,
    deletionTimestamp: before.deletionTimestamp,
    deletionGracePeriodSeconds: before.deletionGracePeriodSeconds,
    selfLink: undefined,
  });
}

type Loose = { [K in keyof ObjectMeta]?: ObjectMeta[K] | undefined };

function defined(meta: Loose): ObjectMeta {
  return Object.fromEntries(
    Object.entries(meta).filter(
      ([, value]) =>
        value !== undefined &&
        !(typeof value === "object" && value !== null && Object.keys(value as object).length === 0),
    ),
  );
}

const MAX_ANNOTATIONS = 256 * 1024;

/** Upstream's ValidateObjectMeta. */
export function validateMeta(
  meta: ObjectMeta,
  needsNamespace: boolean,
  nameErrors: (name: string) => string[],
  errors: FieldErrors,
): void {
  const { name, namespace, generateName: prefix } = meta;
  if (prefix) errors.invalidAll("metadata.generateName", prefix, nameErrors(prefix.replace(/(?<=.)-$/, "a")));
  if (!name) errors.required("metadata.name", "name or generateName is required");
  else errors.invalidAll("metadata.name", name, nameErrors(name));
  if (!needsNamespace) {
    if (namespace) errors.forbidden("metadata.namespace", "not allowed on this type");
  } else if (!namespace) errors.required("metadata.namespace");
  else errors.invalidAll("metadata.namespace", namespace, dnsLabelErrors(namespace));
  validateLabels(meta.labels, "metadata.labels", errors);
  validateAnnotations(meta.annotations, "metadata.annotations", errors);
  validateOwners(meta.ownerReferences ?? [], "metadata.ownerReferences", errors);
  const finalizers = meta.finalizers ?? [];
  for (const finalizer of finalizers)
    errors.invalidAll("metadata.finalizers", finalizer, qualifiedNameErrors(finalizer));
  if (finalizers.includes(ORPHANS_DEPENDENTS) && finalizers.includes(DELETES_DEPENDENTS))
    errors.invalid(
      "metadata.finalizers",
      finalizers,
      `finalizer ${ORPHANS_DEPENDENTS} and ${DELETES_DEPENDENTS} cannot be both set`,
    );
}

/** Finalizers by which an object says what is to become of those it owns. The garbage collector takes them off. */
export const ORPHANS_DEPENDENTS = "orphan";
export const DELETES_DEPENDENTS = "foregroundDeletion";
const STANDARD_FINALIZERS = ["kubernetes", ORPHANS_DEPENDENTS, DELETES_DEPENDENTS];

/** What the core group asks of finalizers besides: a name without a domain is one of its own. */
export function validateCoreFinalizers(meta: ObjectMeta, errors: FieldErrors): void {
  for (const [i, name] of (meta.finalizers ?? []).entries())
    if (!name.includes("/") && !STANDARD_FINALIZERS.includes(name))
      errors.invalid(
        `metadata.finalizers[${i}]`,
        name,
        "name is neither a standard finalizer name nor is it fully qualified",
      );
}

/** Upstream's ValidateAnnotations. */
export function validateAnnotations(
  annotations: Readonly<Record<string, string>> | undefined,
  field: string,
  errors: FieldErrors,
): void {
  let size = 0;
  for (const [key, value] of Object.entries(annotations ?? {})) {
    errors.invalidAll(field, key, qualifiedNameErrors(key.toLowerCase()));
    size += Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  if (size > MAX_ANNOTATIONS) errors.tooLong(field, MAX_ANNOTATIONS);
}

/** Upstream's ValidateOwnerReferences; its errors do not say which of them they mean. */
function validateOwners(owners: readonly OwnerReference[], field: string, errors: FieldErrors): void {
  let controller: string | undefined;
  for (const owner of owners) {
    if (!owner.apiVersion) errors.invalid(`${field}.apiVersion`, owner.apiVersion, "version must not be empty");
    for (const key of ["kind", "name", "uid"] as const)
      if (!owner[key]) errors.invalid(`${field}.${key}`, owner[key], "must not be empty");
    if (owner.apiVersion === "v1" && owner.kind === "Event")
      errors.invalid(field, owner, "/v1, Kind=Event is disallowed from being an owner");
    if (owner.controller !== true) continue;
    const name = `${owner.kind}/${owner.name}`;
    if (controller !== undefined)
      errors.invalid(
        field,
        owners,
        `Only one reference can have Controller set to true. Found "true" in references for ${controller} and ${name}`,
      );
    controller ??= name;
  }
}

/** Upstream's ValidateObjectMetaUpdate: what may never change, and what must hold all the same. */
export function validateMetaUpdate(meta: ObjectMeta, before: ObjectMeta, errors: FieldErrors): void {
  if (isTerminating({ metadata: before })) {
    const added = (meta.finalizers ?? []).filter((finalizer) => !(before.finalizers ?? []).includes(finalizer)).sort();
    if (added.length > 0)
      errors.forbidden(
        "metadata.finalizers",
        `no new finalizers can be added if the object is being deleted, found new finalizers []string{${added.map((f) => JSON.stringify(f)).join(", ")}}`,
      );
  }
  const fixed = ["name", "namespace", "uid", "creationTimestamp"] as const;
  for (const key of fixed)
    if (meta[key] !== before[key]) errors.invalid(`metadata.${key}`, meta[key], "field is immutable");
  validateLabels(meta.labels, "metadata.labels", errors);
  validateAnnotations(meta.annotations, "metadata.annotations", errors);
  validateOwners(meta.ownerReferences ?? [], "metadata.ownerReferences", errors);
}

/** Names of most objects. */
export const subdomainName = dnsSubdomainErrors;
