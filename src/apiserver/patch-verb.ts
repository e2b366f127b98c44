import { isRecord } from "#k8s";
import { restrictNode } from "./authorize.ts";
import { applyObject, manageUpdate } from "./apply.ts";
import { decodeAs, mediaTypeOf, parseYamlBody } from "./body.ts";
import type { AnyObject, Resource } from "./kinds/resource.ts";
import type { Objects } from "./objects.ts";
import { APPLY, checkPatchType, patchObject } from "./patches.ts";
import type { ApiRequest } from "./router.ts";
import { StatusError, badRequest, conflict, notFound } from "./status.ts";
import type { Stored } from "./storage.ts";
import { writeQuery, type WriteQuery } from "./write-options.ts";

/** A part of an object that is written through a path of its own. */
export type Part = "status" | "ephemeralcontainers" | undefined;

export interface Patched {
  readonly stored: Stored;
  readonly created: boolean;
  readonly warnings: readonly string[];
}

interface Target {
  readonly objects: Objects;
  readonly resource: Resource;
  readonly namespace: string;
  readonly name: string;
  readonly part: Part;
}

/** PATCH of an object or a part of it, in any of the four forms. An apply patch may create it. */
export async function patchVerb(request: ApiRequest, target: Target): Promise<Patched> {
  const type = mediaTypeOf(request);
  checkPatchType(type);
  const text = (await request.body()).toString("utf8");
  const query = writeQuery(request, type === APPLY ? "ApplyOptions" : "PatchOptions");
  return type === APPLY ? apply(request, target, query, text) : patch(target, query, type, text);
}

function patch(
  { objects, resource, namespace, name, part }: Target,
  query: WriteQuery,
  type: string,
  text: string,
): Patched {
  const { dryRun, manager, validation } = query;
  const warnings: string[] = [];
  const change = (current: AnyObject): AnyObject => {
    const patched = patchObject(resource, { type, text, validation }, current);
    warnings.push(...patched.warnings);
    checkName(patched.object, name);
    return patched.object;
  };
  const manage = (object: AnyObject, before: AnyObject | undefined): void =>
    manageUpdate(resource, object, before, manager, part ?? "");
  const stored = objects.update(resource, namespace, name, change, { dryRun, manage, part });
  return { stored, created: false, warnings };
}

function apply(request: ApiRequest, target: Target, { dryRun, manager, force }: WriteQuery, text: string): Patched {
  const { objects, resource, namespace, name, part } = target;
  const existing = objects.storage.get(resource.storedAs, namespace, name);
  if (existing === undefined && part !== undefined) throw notFound(resource, name);
  const applied = configuration(text);
  const how = { resource, manager, force, ...(part === undefined ? {} : { subresource: part }) };
  const { object: merged, manage } = applyObject(existing?.object, applied, how);
  const { object } = decodeAs(resource, merged, "Ignore");
  const { uid } = object.metadata;
  if (existing === undefined && uid)
    throw conflict(
      resource,
      name,
      `uid mismatch: the provided object specified uid ${uid}, and no existing object was found`,
    );
  checkName(object, name);
  if (existing !== undefined) {
    const stored = objects.update(resource, namespace, name, () => object, { dryRun, manage, part });
    return { stored, created: false, warnings: [] };
  }
  restrictNode(request.user, resource, object);
  const stored = objects.create(resource, namespace, object, { dryRun, manage });
  return { stored, created: true, warnings: resource.warnings?.(stored.object as AnyObject) ?? [] };
}

function configuration(text: string): AnyObject {
  let value: unknown;
  try {
    value = parseYamlBody(text);
  } catch (cause) {
    if (cause instanceof StatusError) throw badRequest(`error decoding YAML: ${cause.message}`);
    throw cause;
  }
  if (isRecord(value)) return value as AnyObject;
  const kind = Array.isArray(value) ? "array" : typeof value === "boolean" ? "bool" : typeof value;
  if (value == null) return {} as AnyObject;
  throw badRequest(
    `error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal ${kind} into Go value of type map[string]interface {}`,
  );
}

/** What was made of an object is still the one that the path names. */
function checkName({ metadata }: AnyObject, name: string): void {
  if (!metadata.name)
    throw badRequest(`the name of the object (${name} based on URL) was undeterminable: name must be provided`);
  if (metadata.name !== name)
    throw badRequest(`the name of the object (${metadata.name}) does not match the name on the URL (${name})`);
}
