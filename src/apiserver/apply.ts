import { messageOf } from "#base";
import { applyFields, noteLastApplied, recordUpdate, timestamp, typeErrors, type KubeObject } from "#k8s";
import { decodeAs } from "./body.ts";
import { apiVersionOf, type AnyObject, type Resource } from "./kinds/resource.ts";
import { StatusError, badRequest } from "./status.ts";

export interface ApplyRequest {
  readonly resource: Resource;
  readonly manager: string;
  readonly force: boolean;
  readonly subresource?: string;
}

/**
 * Server-side apply: the object after it, and what sets its managers. Throws 400 for a configuration of another kind, 500 for
 * one that does not fit its schema (upstream has no other code for it), and 409 with every field another manager has and
 * this one would change, unless forced.
 */
export function applyObject(
  before: KubeObject | undefined,
  applied: AnyObject,
  { resource, manager, force, subresource = "" }: ApplyRequest,
): { object: AnyObject; manage: (object: AnyObject, before: AnyObject | undefined) => void } {
  checkConfiguration(resource, applied);
  const live = before === undefined ? undefined : (resource.fromStored?.(before) ?? before);
  const result = applyFields({
    live: live as Record<string, unknown> | undefined,
    applied,
    type: resource.type,
    managers: live?.metadata?.managedFields ?? [],
    manager: { name: manager, apiVersion: apiVersionOf(resource), subresource, time: timestamp() },
    force,
  });
  if (result.conflicts.length > 0) throw conflictError(result.conflicts);
  const managers = result.managers;
  const object = typedResult(resource, structuredClone(result.object), applied);
  if (manager === "kubectl") noteLastApplied(object, applied);
  return {
    object,
    manage: (object) => {
      object.metadata.managedFields = managers;
    },
  };
}

/** A configuration as errors name it. */
const shownName = ({ metadata }: AnyObject, type: string): string =>
  `${metadata?.namespace ?? ""}/${metadata?.name ?? ""}; ${type}`;

function shownType({ apiVersion = "", kind = "" }: AnyObject): string {
  const [version = "", group = ""] = apiVersion.split("/").toReversed();
  return `${group}/${version}, Kind=${kind}`;
}

/** What was merged, as an object of its kind: a scalar may still be none of its type. */
function typedResult(resource: Resource, merged: unknown, applied: AnyObject): AnyObject {
  try {
    return decodeAs(resource, merged, "Ignore").object;
  } catch (cause) {
    const why = messageOf(cause).replace(/^.*? cannot be handled as a \w+: /, "");
    const what = shownName(applied, shownType(applied));
    throw new StatusError(500, "", `failed to convert new object (${what}) to proper version: ${why}`);
  }
}

function checkConfiguration(resource: Resource, applied: AnyObject): void {
  const { apiVersion = "", kind = "", metadata } = applied;
  const type = shownType(applied);
  if (kind !== resource.kind || apiVersion !== apiVersionOf(resource)) throw badRequest(`invalid object type: ${type}`);
  if (metadata?.managedFields != null) throw badRequest("metadata.managedFields must be nil");
  const errors = typeErrors(applied, resource.type);
  if (errors.length === 0) return;
  const why = errors.length === 1 ? errors[0] : ["errors:", ...errors.map((error) => `  ${error}`)].join("\n");
  throw new StatusError(500, "", `failed to create typed patch object (${shownName(applied, type)}): ${why}`);
}

function conflictError(conflicts: readonly { manager: string; path: string }[]): StatusError {
  const byManager = Map.groupBy(conflicts, (conflict) => conflict.manager);
  const [only] = conflicts;
  const lines = [...byManager].map(
    ([manager, list]) => `conflicts with ${manager}:\n${list.map(({ path }) => `- ${path}`).join("\n")}`,
  );
  const message =
    conflicts.length === 1
      ? `Apply failed with 1 conflict: conflict with ${only?.manager}: ${only?.path}`
      : `Apply failed with ${conflicts.length} conflicts: ${lines.join("\n")}`;
  return new StatusError(409, "Conflict", message, {
    causes: conflicts.map(({ manager, path }) => ({
      reason: "FieldManagerConflict",
      message: `conflict with ${manager}`,
      field: path,
    })),
  });
}

/** Notes who changed what in a create, update or patch. */
export function manageUpdate(
  resource: Resource,
  object: AnyObject,
  before: AnyObject | undefined,
  manager: string,
  subresource: string,
): void {
  object.metadata.managedFields = recordUpdate({
    before,
    after: object,
    type: resource.fromStored === undefined ? resource.type : "v1.Event",
    managers: managersBefore(object, before, subresource),
    manager: { name: manager, apiVersion: apiVersionOf(resource), subresource, time: timestamp() },
  });
}

/** Who has what before a write. The object itself may tell, but not through a part of it; one empty entry forgets them all. */
function managersBefore(object: AnyObject, before: AnyObject | undefined, subresource: string) {
  const given = object.metadata.managedFields ?? [];
  if (before === undefined) return [];
  if (given.length === 1 && Object.keys(given[0] ?? {}).length === 0) return [];
  const valid = given.every(
    ({ operation = "", apiVersion = "", fieldsType }) =>
      ["Apply", "Update"].includes(operation) && apiVersion !== "" && fieldsType === "FieldsV1",
  );
  return subresource === "" && valid && given.length > 0 ? given : (before.metadata.managedFields ?? []);
}
