import type { Volume } from "#k8s";
import type { FieldErrors } from "../field-errors.ts";
import { validateFieldRef, validateResourceRef } from "./validate-env.ts";
import { fileMode, unreserved } from "./validate-paths.ts";

type Projected = NonNullable<Volume["projected"]>;
type Projection = NonNullable<Projected["sources"]>[number];
type Items = NonNullable<NonNullable<Volume["secret"]>["items"]>;
type DownwardFiles = NonNullable<NonNullable<Volume["downwardAPI"]>["items"]>;

const FIELDS = ["metadata.name", "metadata.namespace", "metadata.uid", "metadata.annotations", "metadata.labels"];

/** Keys of a Secret or ConfigMap, each with its file. */
export function keysToPaths(items: Items | undefined, field: string, errors: FieldErrors): void {
  for (const [i, item] of (items ?? []).entries()) keyToPath(item, `${field}[${i}]`, errors);
}

function keyToPath({ key, path, mode }: Items[number], at: string, errors: FieldErrors): void {
  if (!key) errors.required(`${at}.key`);
  if (!path) errors.required(`${at}.path`);
  unreserved(path, `${at}.path`, errors);
  fileMode(mode, `${at}.mode`, errors);
}

/** Files of the downward API. Upstream's errors do not say which of them they mean. */
export function downwardFiles(items: DownwardFiles | undefined, at: string, errors: FieldErrors): void {
  for (const item of items ?? []) downwardFile(item, at, errors);
}

function downwardFile(file: DownwardFiles[number], at: string, errors: FieldErrors): void {
  const { path, fieldRef, resourceFieldRef, mode } = file;
  if (!path) errors.required(`${at}.path`);
  unreserved(path, `${at}.path`, errors);
  if (fieldRef !== undefined) {
    validateFieldRef(fieldRef, `${at}.fieldRef`, FIELDS, errors);
    if (resourceFieldRef !== undefined)
      errors.invalid(at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously");
  } else if (resourceFieldRef !== undefined)
    validateResourceRef(resourceFieldRef, `${at}.resourceFieldRef`, true, errors);
  else errors.required(at, "one of fieldRef and resourceFieldRef is required");
  fileMode(mode, `${at}.mode`, errors);
}

/** Upstream's validateProjectedVolumeSource. */
export function validateProjection({ defaultMode, sources }: Projected, at: string, errors: FieldErrors): void {
  fileMode(defaultMode, `${at}.defaultMode`, errors);
  const paths = new Set<string>();
  const taken = (path: string, shown = path): void => {
    if (paths.has(path)) errors.invalid(at, shown, "conflicting duplicate paths");
    paths.add(path);
  };
  for (const [i, source] of (sources ?? []).entries()) {
    const here = `${at}.sources[${i}]`;
    for (const kind of ["secret", "configMap"] as const) {
      const given = source[kind];
      if (given === undefined) continue;
      if (!given.name) errors.required(`${here}.${kind}.name`);
      for (const [j, item] of (given.items ?? []).entries()) {
        keyToPath(item, `${here}.${kind}.items[${j}]`, errors);
        if (item.path) taken(item.path, given.name);
      }
    }
    for (const file of source.downwardAPI?.items ?? []) {
      downwardFile(file, `${here}.downwardAPI`, errors);
      if (file.path) taken(file.path);
    }
    accountToken(source, at, here, errors);
    if (Object.keys(source).length > 1) errors.forbidden(here, "may not specify more than 1 volume type per source");
  }
}

const TEN_MINUTES = 600;

function accountToken(source: Projection, at: string, here: string, errors: FieldErrors): void {
  const token = source.serviceAccountToken;
  if (token === undefined) return;
  const field = `${here}.serviceAccountToken.expirationSeconds`;
  const seconds = token.expirationSeconds ?? 0;
  if (seconds < TEN_MINUTES) errors.invalid(field, seconds, "may not specify a duration less than 10 minutes");
  if (seconds > 2 ** 32) errors.invalid(field, seconds, "may not specify a duration larger than 2^32 seconds");
  if (!token.path) errors.required(`${at}.path`);
  else unreserved(token.path, `${at}.path`, errors);
}
