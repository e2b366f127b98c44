import { applyFields, recordUpdate, timestamp, type KubeObject } from "#k8s";
import { apiVersionOf, type AnyObject, type Resource } from "./kinds/resource.ts";
import { StatusError } from "./status.ts";

export interface ApplyRequest {
  readonly resource: Resource;
  readonly manager: string;
  readonly force: boolean;
  readonly subresource?: string;
}

/**
 * Server-side apply: the object after it, and what sets its managers. Throws 409 with every field another manager has and
 * this one would change, unless forced.
 */
export function applyObject(
  before: KubeObject | undefined,
  applied: AnyObject,
  { resource, manager, force, subresource = "" }: ApplyRequest,
): { object: AnyObject; manage: (object: AnyObject, before: AnyObject | undefined) => void } {
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
  return {
    object: result.object as unknown as AnyObject,
    manage: (object) => {
      object.metadata.managedFields = managers;
    },
  };
}

function conflictError(conflicts: readonly { manager: string; path: string }[]): StatusError {
  const byManager = Map.groupBy(conflicts, (conflict) => conflict.manager);
  const lines = [...byManager].map(([manager, list]) =>
    list.length === 1
      ? `conflict with ${manager}: ${list[0]?.path}`
      : `conflicts with ${manager}:\n${list.map(({ path }) => `- ${path}`).join("\n")}`,
  );
  const count = conflicts.length === 1 ? "1 conflict" : `${conflicts.length} conflicts`;
  return new StatusError(409, "Conflict", `Apply failed with ${count}: ${lines.join("\n")}`, {
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
  const given = object.metadata.managedFields;
  // An explicit empty list resets all managers, as in upstream.
  const managers = before === undefined ? [] : (given ?? before.metadata.managedFields ?? []);
  object.metadata.managedFields = recordUpdate({
    before,
    after: object,
    type: resource.fromStored === undefined ? resource.type : "v1.Event",
    managers,
    manager: { name: manager, apiVersion: apiVersionOf(resource), subresource, time: timestamp() },
  });
}
