import { isFailure, messageOf } from "#base";
import { isRecord, jsonPatch, mergePatch, showIndexed, strategicMerge, type KubeObject } from "#k8s";
import { goSyntaxError } from "./body.ts";
import type { AnyObject, Resource } from "./kinds/resource.ts";
import { StatusError, badRequest } from "./status.ts";

export const STRATEGIC = "application/strategic-merge-patch+json";

/** An applied object with a field the schema does not have is refused, whatever the validation asked for. */
export function untyped(
  resource: Resource,
  namespace: string,
  name: string,
  applied: AnyObject,
  path: string,
): StatusError {
  const where = showIndexed(applied, path, resource.type);
  const what = `${namespace}/${name}; ${resource.group}/${resource.version}, Kind=${resource.kind}`;
  return new StatusError(
    500,
    "",
    `failed to create typed patch object (${what}): ${where}: field not declared in schema`,
  );
}

/** What a patch of that media type makes of an object. Throws 415 for a type that is none. */
export function patcher(resource: Resource, type: string, text: string): (current: KubeObject) => unknown {
  const parsed = (): unknown => {
    try {
      return JSON.parse(text) as unknown;
    } catch (cause) {
      const why = goSyntaxError(messageOf(cause), text);
      throw badRequest(type === STRATEGIC ? why : `error decoding patch: ${why}`);
    }
  };
  switch (type) {
    case "application/json-patch+json": {
      const patch = parsed();
      return (current) => attempt(() => jsonPatch(current, patch));
    }
    case "application/merge-patch+json": {
      const patch = parsed();
      if (!isRecord(patch)) throw badRequest("a merge patch must be an object");
      return (current) => mergePatch(current, patch);
    }
    case "application/strategic-merge-patch+json": {
      const patch = parsed();
      return (current) => attempt(() => strategicMerge(current, patch, resource.type));
    }
    default:
      throw new StatusError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {});
  }
}

function attempt(run: () => unknown): unknown {
  try {
    return run();
  } catch (cause) {
    if (isFailure(cause, "PATCH_DOES_NOT_APPLY"))
      throw new StatusError(422, "Invalid", "the server rejected our request due to an error in our request", {});
    // Upstream has no status of its own for this.
    if (isFailure(cause, "MISSING_MERGE_KEY")) throw new StatusError(500, "", messageOf(cause));
    throw badRequest(messageOf(cause));
  }
}

/** A patch whose result is no object of the kind: upstream names no kind in that answer, and shows the result. */
export function badPatch(shown: string, why: string): StatusError {
  const plain = why.replace(/^.*? cannot be handled as a \w+: /, "");
  const message = `Invalid value: ${JSON.stringify(shown)}: ${plain}`;
  const causes = [{ reason: "FieldValueInvalid", message, field: "patch" }];
  return new StatusError(422, "Invalid", ` "" is invalid: patch: ${message}`, { causes });
}

/** A JSON value as Go prints a map of it (`map[a:1 b:[x y]]`). */
export function goValue(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(goValue).join(" ")}]`;
  if (typeof value === "string") return value;
  if (!isRecord(value)) return value === null ? "<nil>" : JSON.stringify(value);
  const members = Object.keys(value)
    .sort()
    .map((key) => `${key}:${goValue(value[key])}`);
  return `map[${members.join(" ")}]`;
}
