import { isFailure, messageOf } from "#base";
import {
  GO_MAP,
  goSyntaxError,
  goTypeError,
  goValue,
  isRecord,
  jsonPatch,
  mergePatch,
  strategicMerge,
  whyNotRestored,
  type KubeObject,
} from "#k8s";
import { decodeAs, type Validation } from "./body.ts";
import { duplicateFields } from "./strict.ts";
import { apiVersionOf, type AnyObject, type Resource } from "./kinds/resource.ts";
import { StatusError, badRequest } from "./status.ts";

export const APPLY = "application/apply-patch+yaml";
const JSON_PATCH = "application/json-patch+json";
const MERGE = "application/merge-patch+json";
const STRATEGIC = "application/strategic-merge-patch+json";

/** Most operations that a JSON patch may have. */
const OPERATIONS = 10_000;

/** A patch as it was sent. */
export interface Patch {
  readonly type: string;
  readonly text: string;
  readonly validation: Validation;
}

/** Throws 415 for a media type that is no patch. */
export function checkPatchType(type: string): void {
  if (![JSON_PATCH, MERGE, STRATEGIC, APPLY].includes(type))
    throw new StatusError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {});
}

/**
 * What a patch makes of an object, and what the client should be told of fields it does not know. Throws 400 for a patch that
 * is none, 413 for one of too many operations, and 422 where it does not apply or its result is no object of the kind.
 */
export function patchObject(
  resource: Resource,
  { type, text, validation }: Patch,
  current: KubeObject,
): { object: AnyObject; warnings: readonly string[] } {
  const versioned = { kind: resource.kind, apiVersion: apiVersionOf(resource), ...current };
  const patch = parse(type, text);
  const value = attempt(() => merged(resource, type, patch, versioned));
  const shown = type === STRATEGIC ? goValue(spent(patch)) : JSON.stringify(value);
  const problems = validation === "Ignore" ? [] : oddities(type, text, patch);
  const unfit = type === STRATEGIC ? whyNotRestored(value, resource.type) : undefined;
  if (unfit !== undefined) throw badResult(shown, unfit);
  try {
    const { object, warnings } = decodeAs(resource, value, validation === "Ignore" ? "Ignore" : "Warn");
    problems.push(...warnings);
    if (validation !== "Strict" || problems.length === 0) return { object, warnings: problems };
  } catch (cause) {
    throw badResult(shown, messageOf(cause).replace(/^.*? cannot be handled as a \w+: /, ""));
  }
  throw badResult(shown, `strict decoding error: ${problems.join(", ")}`);
}

function merged(resource: Resource, type: string, patch: unknown, current: object): unknown {
  switch (type) {
    case JSON_PATCH:
      return jsonPatch(current, patch);
    case MERGE:
      return mergePatch(current, patch);
    default: {
      const value = strategicMerge(current, patch, resource.type) as object;
      return { ...value, kind: resource.kind, apiVersion: apiVersionOf(resource) };
    }
  }
}

const OPERATION = "handlers.jsonPatchOp";

function parse(type: string, text: string): unknown {
  const wrong = (why: string): StatusError => badRequest(type === STRATEGIC ? why : `error decoding patch: ${why}`);
  let patch: unknown;
  try {
    patch = JSON.parse(text);
  } catch {
    throw wrong(goSyntaxError(text));
  }
  if (type !== JSON_PATCH) {
    if (isRecord(patch)) return patch;
    if (patch !== null) throw wrong(goTypeError(patch, GO_MAP));
    if (type === MERGE) throw badRequest("Invalid JSON Patch");
    return {};
  }
  if (patch === null) return [];
  if (!Array.isArray(patch)) throw wrong(goTypeError(patch, `value of type []${OPERATION}`));
  for (const operation of patch as unknown[]) {
    if (operation === null) continue;
    if (!isRecord(operation)) throw wrong(goTypeError(operation, `value of type ${OPERATION}`));
    for (const field of ["op", "path", "from"])
      if (operation[field] != null && typeof operation[field] !== "string")
        throw wrong(goTypeError(operation[field], `struct field jsonPatchOp.${field} of type string`));
  }
  if (patch.length > OPERATIONS)
    throw new StatusError(
      413,
      "RequestEntityTooLarge",
      `Request entity too large: The allowed maximum operations in a JSON patch is ${OPERATIONS}, got ${patch.length}`,
    );
  return patch;
}

const ORDER = "$setElementOrder/";

/** What upstream shows of a strategic merge patch when it is done: its directives, and lists that came in an order, are used up. */
function spent(patch: unknown): unknown {
  if (Array.isArray(patch)) return patch.map(spent);
  if (!isRecord(patch)) return patch;
  const used = new Set(["$retainKeys"]);
  if (patch["$patch"] === "replace") used.add("$patch");
  for (const key of Object.keys(patch)) if (key.startsWith(ORDER)) used.add(key).add(key.slice(ORDER.length));
  const left = Object.entries(patch).filter(([key]) => !used.has(key));
  return Object.fromEntries(left.map(([key, value]) => [key, spent(value)]));
}

/** What is odd about the patch itself: members given twice, and those that no JSON patch has. */
function oddities(type: string, text: string, patch: unknown): string[] {
  const doubled = duplicateFields(text).map((path) => `duplicate field "${path}"`);
  if (type !== JSON_PATCH) return doubled;
  const unknown = (patch as unknown[]).flatMap((operation, i) =>
    Object.keys(operation ?? {})
      .filter((field) => !["op", "path", "from", "value"].includes(field))
      .map((field) => `unknown field "[${i}].${field}"`),
  );
  return [...unknown, ...doubled].map((problem) => `json patch ${problem}`);
}

function attempt(run: () => unknown): unknown {
  try {
    return run();
  } catch (cause) {
    if (isFailure(cause, "PATCH_DOES_NOT_APPLY"))
      throw new StatusError(422, "Invalid", "the server rejected our request due to an error in our request", {});
    // Upstream has no status of its own for this.
    if (isFailure(cause, "BROKEN_PATCH")) throw new StatusError(500, "", messageOf(cause));
    throw badRequest(messageOf(cause));
  }
}

/** A patch whose result is no object of the kind: upstream names no kind in that answer, and shows the result. */
function badResult(shown: string, why: string): StatusError {
  const message = `Invalid value: ${JSON.stringify(shown)}: ${why}`;
  const causes = [{ reason: "FieldValueInvalid", message, field: "patch" }];
  return new StatusError(422, "Invalid", ` "" is invalid: patch: ${message}`, { causes });
}
