import { messageOf } from "#base";
import { parseFieldSelector, parseLabelSelector, type KubeObject } from "#k8s";
import type { Resource } from "./kinds/resource.ts";
import { badRequest } from "./status.ts";

/** A predicate over objects, from `labelSelector` and `fieldSelector`; undefined where neither is given. */
export type Selector = (object: KubeObject) => boolean;

export function selectorOf(resource: Resource, query: URLSearchParams): Selector | undefined {
  const labels = query.get("labelSelector") ?? "";
  const fields = query.get("fieldSelector") ?? "";
  if (labels === "" && fields === "") return undefined;
  try {
    const byLabel = parseLabelSelector(labels);
    const requirements = parseFieldSelector(fields);
    const known = new Set(Object.keys({ ...fieldsOf(resource, EMPTY) }));
    for (const { field } of requirements) if (!known.has(field)) throw badRequest(unknownField(resource, field));
    return (object) => {
      if (!byLabel(object.metadata?.labels ?? {})) return false;
      if (requirements.length === 0) return true;
      const values = fieldsOf(resource, object);
      return requirements.every(({ field, value, equal }) => (values[field] === value) === equal);
    };
  } catch (cause) {
    throw badRequest(messageOf(cause));
  }
}

/** Kinds that upstream serves without fields of their own, in words of their own. */
const NAMED = ["ConfigMap", "ServiceAccount"];

function unknownField(resource: Resource, field: string): string {
  if (NAMED.includes(resource.kind)) return `field label ${JSON.stringify(field)} not supported for "${resource.kind}"`;
  return resource.fields === undefined
    ? `${JSON.stringify(field)} is not a known field selector: only "metadata.name", "metadata.namespace"`
    : `field label not supported: ${field}`;
}

const EMPTY = { metadata: {}, involvedObject: {}, spec: {}, status: {} } as KubeObject;

function fieldsOf(resource: Resource, object: KubeObject): Record<string, string> {
  return {
    "metadata.name": object.metadata?.name ?? "",
    ...(resource.namespaced ? { "metadata.namespace": object.metadata?.namespace ?? "" } : {}),
    ...resource.fields?.(object),
  };
}
