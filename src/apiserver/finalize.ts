import type { ServerResponse } from "node:http";
import type { Namespace } from "#k8s";
import { decodeAs, readBody } from "./body.ts";
import { namespaces } from "./kinds/cluster.ts";
import type { AnyObject } from "./kinds/resource.ts";
import type { Objects } from "./objects.ts";
import { sendText, objectJson } from "./respond.ts";
import type { ApiRequest } from "./router.ts";
import { isDryRun } from "./write-options.ts";

/** PUT …/namespaces/{name}/finalize: sets `spec.finalizers`; a namespace that ends and has none left goes at once. */
export async function finalize(request: ApiRequest, response: ServerResponse, objects: Objects): Promise<void> {
  const { object } = decodeAs(namespaces, await readBody(request, namespaces), "Ignore");
  const name = request.params["name"] ?? "";
  const current = objects.get(namespaces, "", name);
  const next = structuredClone(current.object) as AnyObject;
  const finalizers = (object as Namespace).spec?.finalizers ?? [];
  next["spec"] = finalizers.length === 0 ? {} : { finalizers };
  const dryRun = isDryRun(request.query);
  const stored = objects.put(namespaces, "", name, next, dryRun);
  const ends = next.metadata.deletionTimestamp !== undefined && (next.metadata.finalizers ?? []).length === 0;
  if (ends && finalizers.length === 0 && !dryRun) objects.remove(namespaces, "", name);
  sendText(request, response, 200, [objectJson(namespaces, stored)]);
}
