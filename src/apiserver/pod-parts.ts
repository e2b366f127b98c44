import type { ServerResponse } from "node:http";
import { isRecord, timestamp, withCondition, type Pod } from "#k8s";
import { readBody } from "./body.ts";
import type { DeleteOptions } from "./deletion.ts";
import { FieldErrors } from "./field-errors.ts";
import { pods } from "./kinds/pod.ts";
import type { AnyObject } from "./kinds/resource.ts";
import { withStatus } from "./node-lifecycle.ts";
import type { Objects } from "./objects.ts";
import { sendJson } from "./respond.ts";
import type { ApiRequest } from "./router.ts";
import { StatusError, badRequest, conflict } from "./status.ts";
import { deleteOptionsFrom, isDryRun } from "./write-options.ts";

const SUCCESS = { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", code: 201 };

interface Binding {
  metadata?: { name?: string; uid?: string; annotations?: Record<string, string>; labels?: Record<string, string> };
  target?: { kind?: string; name?: string };
}

/** POST …/pods/{name}/binding: puts a Pod on a node. `name` is the body's for POST …/bindings. */
export async function bind(request: ApiRequest, response: ServerResponse, objects: Objects): Promise<void> {
  const body = await readBody(request, { kind: "Binding" });
  if (!isRecord(body)) throw badRequest("the object provided is unrecognized (must be of type Binding)");
  const binding = body as Binding;
  const namespace = request.params["namespace"] ?? "";
  const name = request.params["name"] ?? binding.metadata?.name ?? "";
  if (name !== (binding.metadata?.name ?? "")) throw badRequest("name in URL does not match name in Binding object");
  const errors = new FieldErrors();
  const kind = binding.target?.kind ?? "";
  if (kind !== "" && kind !== "Node") errors.unsupported("target.kind", kind, ["Node", "<empty>"]);
  if (!binding.target?.name) errors.required("target.name");
  // Upstream gives this error no status of its own.
  if (errors.causes.length > 0) throw new StatusError(500, "", errors.text());
  const stored = objects.get(pods, namespace, name);
  const pod = structuredClone(stored.object) as Pod;
  const parts = { group: "", resource: "pods/binding" };
  if (binding.metadata?.uid && binding.metadata.uid !== pod.metadata?.uid)
    throw conflict(
      parts,
      name,
      `Precondition failed: UID in precondition: ${binding.metadata.uid}, UID in object meta: ${pod.metadata?.uid}`,
    );
  if (pod.metadata?.deletionTimestamp !== undefined)
    throw conflict(parts, name, `pod ${name} is being deleted, cannot be assigned to a host`);
  if (pod.spec?.nodeName) throw conflict(parts, name, `pod ${name} is already assigned to node "${pod.spec.nodeName}"`);
  if ((pod.spec?.schedulingGates ?? []).length > 0)
    throw conflict(parts, name, `pod ${name} has non-empty .spec.schedulingGates`);
  if (pod.spec !== undefined) pod.spec.nodeName = binding.target?.name ?? "";
  const object = pod as AnyObject;
  const annotations = { ...object.metadata.annotations, ...binding.metadata?.annotations };
  if (Object.keys(annotations).length > 0) object.metadata.annotations = annotations;
  const conditions = withCondition(pod.status?.conditions, {
    type: "PodScheduled",
    status: "True",
    lastTransitionTime: timestamp(),
  });
  object["status"] = { ...pod.status, conditions };
  objects.put(pods, namespace, name, object, isDryRun(request.query));
  sendJson(request, response, 201, SUCCESS);
}

/**
 * POST …/pods/{name}/eviction: a deletion that may be refused, though here no budget ever refuses it, and that is seen on
 * the Pod.
 */
export async function evict(request: ApiRequest, response: ServerResponse, objects: Objects): Promise<void> {
  const body = await readBody(request, { kind: "Eviction" });
  if (!isRecord(body)) throw badRequest("the object provided is unrecognized (must be of type Eviction)");
  const namespace = request.params["namespace"] ?? "";
  const name = request.params["name"] ?? "";
  const meta = isRecord(body["metadata"]) ? body["metadata"] : {};
  if (meta["name"] !== name) throw badRequest("name in URL does not match name in Eviction object");
  const dryRun = isDryRun(request.query);
  const given = deleteOptionsFrom(body["deleteOptions"] ?? {}, request.query);
  const options = { ...given, dryRun: dryRun || given.dryRun === true };
  objects.delete(pods, namespace, name, options.dryRun ? options : announced(objects, namespace, name, options));
  sendJson(request, response, 201, SUCCESS);
}

/** Says on a Pod that it is evicted. Preconditions are those of the Pod before, and are adapted to the one after. */
function announced(objects: Objects, namespace: string, name: string, options: DeleteOptions): DeleteOptions {
  const pod = structuredClone(objects.get(pods, namespace, name).object) as Pod;
  const { uid, resourceVersion } = options.preconditions ?? {};
  const { metadata } = pod;
  const refuse = (what: string, wanted: string, found: string | undefined, why: string): StatusError => {
    const words = `the ${what} in the precondition (${wanted}) does not match the ${what} in record (${found})`;
    return conflict({ group: "", resource: "Pod" }, name, `${words}. The pod might have been ${why}`);
  };
  if (uid && uid !== metadata?.uid) throw refuse("UID", uid, metadata?.uid, "deleted and then recreated");
  if (resourceVersion && resourceVersion !== metadata?.resourceVersion)
    throw refuse("ResourceVersion", resourceVersion, metadata?.resourceVersion, "modified");
  const conditions = withCondition(pod.status?.conditions, {
    type: "DisruptionTarget",
    status: "True",
    reason: "EvictionByEvictionAPI",
    message: "Eviction API: evicting",
    lastTransitionTime: timestamp(),
  });
  const { object } = objects.put(pods, namespace, name, withStatus(pod, { conditions }));
  if (!resourceVersion) return options;
  const version = object.metadata?.resourceVersion ?? "";
  return { ...options, preconditions: { ...options.preconditions, resourceVersion: version } };
}
