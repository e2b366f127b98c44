import { randomInt, randomUUID } from "node:crypto";
import { isTerminating, timestamp, type ObjectMeta } from "#k8s";
import type { FieldErrors } from "./field-errors.ts";
import { dnsSubdomainErrors, qualifiedNameErrors, validateLabels } from "./names.ts";

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
  if (meta.generateName)
    for (const error of nameErrors(meta.generateName.replace(/-$/, "a")))
      errors.invalid("metadata.generateName", meta.generateName, error);
  if (!meta.name) errors.required("metadata.name", "name or generateName is required");
  else for (const error of nameErrors(meta.name)) errors.invalid("metadata.name", meta.name, error);
  if (needsNamespace && !meta.namespace) errors.required("metadata.namespace");
  if (!needsNamespace && meta.namespace) errors.forbidden("metadata.namespace", "not allowed on this type");
  validateLabels(meta.labels, "metadata.labels", errors);
  let size = 0;
  for (const [key, value] of Object.entries(meta.annotations ?? {})) {
    for (const error of qualifiedNameErrors(key.toLowerCase())) errors.invalid("metadata.annotations", key, error);
    size += key.length + value.length;
  }
  if (size > MAX_ANNOTATIONS) errors.tooLong("metadata.annotations", MAX_ANNOTATIONS);
  let controller: string | undefined;
  for (const [i, owner] of (meta.ownerReferences ?? []).entries()) {
    const at = `metadata.ownerReferences[${i}]`;
    if (!owner.apiVersion) errors.invalid(`${at}.apiVersion`, owner.apiVersion, "version must not be empty");
    if (!owner.kind) errors.invalid(`${at}.kind`, owner.kind, "must not be empty");
    if (!owner.name) errors.invalid(`${at}.name`, owner.name, "must not be empty");
    if (!owner.uid) errors.invalid(`${at}.uid`, owner.uid, "must not be empty");
    if (owner.controller === true) {
      if (controller !== undefined)
        errors.invalid(
          "metadata.ownerReferences",
          meta.ownerReferences,
          `Only one reference can have Controller set to true. Found "true" in references for ${controller} and ${owner.name}`,
        );
      controller = owner.name;
    }
  }
  for (const finalizer of meta.finalizers ?? [])
    for (const error of qualifiedNameErrors(finalizer)) errors.invalid("metadata.finalizers", finalizer, error);
}

/** Upstream's ValidateObjectMetaUpdate: what may never change. */
export function validateMetaUpdate(meta: ObjectMeta, before: ObjectMeta, errors: FieldErrors): void {
  const fixed = ["name", "namespace", "uid", "creationTimestamp"] as const;
  for (const key of fixed)
    if (meta[key] !== before[key]) errors.invalid(`metadata.${key}`, meta[key], "field is immutable");
  if (isTerminating({ metadata: before })) {
    const added = (meta.finalizers ?? []).filter((finalizer) => !(before.finalizers ?? []).includes(finalizer));
    if (added.length > 0)
      errors.forbidden(
        "metadata.finalizers",
        `no new finalizers can be added if the object is being deleted, found new finalizers []string{${added.map((f) => JSON.stringify(f)).join(", ")}}`,
      );
  }
}

/** Names of most objects. */
export const subdomainName = dnsSubdomainErrors;
