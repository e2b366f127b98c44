import { GO_MAP, goTypeError, goYamlDuplicates, goYamlError, isRecord, parseYaml } from "#k8s";
import { restrictNode } from "./authorize.ts";
import { applyObject, manageUpdate } from "./apply.ts";
import { mediaTypeOf, type Validation } from "./body.ts";
import type { AnyObject, Resource } from "./kinds/resource.ts";
import type { Objects } from "./objects.ts";
import { APPLY, checkPatchType, patchObject } from "./patches.ts";
import type { ApiRequest } from "./router.ts";
import { badRequest, conflict, notFound } from "./status.ts";
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

function apply(request: ApiRequest, target: Target, query: WriteQuery, text: string): Patched {
  const { dryRun, manager, force, validation } = query;
  const { objects, resource, namespace, name, part } = target;
  const existing = objects.storage.get(resource.storedAs, namespace, name);
  if (existing === undefined && part !== undefined) throw notFound(resource, name);
  const applied = configuration(text);
  const how = { resource, manager, force, ...(part === undefined ? {} : { subresource: part }) };
  const { object, manage } = applyObject(existing?.object, applied, how);
  const odd = repeated(text, validation);
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
    return { stored, created: false, warnings: odd };
  }
  restrictNode(request.user, resource, object);
  // What is new has no version yet, whatever the configuration says.
  delete object.metadata.resourceVersion;
  const stored = objects.create(resource, namespace, object, { dryRun, manage });
  return { stored, created: true, warnings: [...odd, ...(resource.warnings?.(stored.object as AnyObject) ?? [])] };
}

/** The configuration in the body of an apply, in YAML (or JSON, which is YAML too). */
function configuration(text: string): AnyObject {
  let value: unknown;
  try {
    value = parseYaml(text) ?? {};
  } catch {
    throw badRequest(`error decoding YAML: error converting YAML to JSON: ${goYamlError(text)}`);
  }
  if (isRecord(value)) return value as AnyObject;
  const why = goTypeError(value, GO_MAP);
  throw badRequest(`error decoding YAML: error unmarshaling JSON: while decoding JSON: ${why}`);
}

/** What to tell of keys that are there twice. Throws 400 where that was to be refused. */
function repeated(text: string, validation: Validation): string[] {
  if (validation === "Ignore") return [];
  const found = goYamlDuplicates(text).map((problem) => `error converting YAML to JSON: ${problem}`);
  if (validation === "Strict" && found.length > 0) throw badRequest(`error strict decoding YAML: ${found[0]}`);
  return found;
}

/** Checks that an object is the one that the path names. Throws 400. */
export function checkName({ metadata }: AnyObject, name: string): void {
  if (!metadata.name)
    throw badRequest(`the name of the object (${name} based on URL) was undeterminable: name must be provided`);
  if (metadata.name !== name)
    throw badRequest(`the name of the object (${metadata.name}) does not match the name on the URL (${name})`);
}
