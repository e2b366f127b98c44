import { RESOURCES } from "./kinds/index.ts";
import type { Access, Match } from "./router.ts";
import { unknownResource } from "./status.ts";

/** A path outside the API, answered as Go's own server would. */
export class PageNotFound extends Error {}

/** Groups that have subresources or questions only. */
const WITHOUT_OBJECTS = ["authentication.k8s.io", "authorization.k8s.io", "policy"];

/** What is said of a path that no route has. */
export function missing(path: string): Error {
  const group = /^\/apis\/([^/]+)/.exec(path)?.[1];
  if (path.startsWith("/api/v1/")) return unknownResource();
  if (
    group !== undefined &&
    /^\/apis\/[^/]+\/v1\/./.test(path) &&
    (WITHOUT_OBJECTS.includes(group) || RESOURCES.some((resource) => resource.group === group))
  )
    return unknownResource();
  return new PageNotFound();
}

/** What a request to a route asks permission for; a list may be a watch, and of one name only. */
export function accessOf(match: Match, method: string, path: string, query: URLSearchParams): Access {
  const access = match.route.access?.(match.params, method);
  if (access === undefined) return { kind: "path", verb: method === "HEAD" ? "get" : method.toLowerCase(), path };
  if (access.kind === "resource" && access.verb === "list") {
    const fieldSelector = query.get("fieldSelector") ?? "";
    const name = /(?:^|,)metadata\.name=([^,]+)/.exec(fieldSelector)?.[1];
    const verb = /^(1|true)$/i.test(query.get("watch") ?? "") ? "watch" : "list";
    return { ...access, verb, fieldSelector, ...(name === undefined ? {} : { name }) };
  }
  return access;
}

const VERBS: Readonly<Record<string, string>> = { POST: "create", PUT: "update", PATCH: "patch", DELETE: "delete" };

/** What a request to a path that does not exist would have been: who may not ask is told that first. */
export function unknownAccess(method: string, path: string): Access {
  const match =
    /^\/(?:api\/v1|apis\/([^/]+)\/[^/]+)\/(?:namespaces\/([^/]+)\/)?([^/]+)(?:\/([^/]+))?(?:\/([^/]+))?$/.exec(path);
  if (match === null) return { kind: "path", verb: method.toLowerCase(), path };
  const [, group = "", namespace, resource = "", name, subresource] = match;
  const verb = VERBS[method] ?? (name === undefined ? "list" : "get");
  return {
    kind: "resource",
    verb,
    group,
    resource,
    ...(namespace === undefined ? {} : { namespace }),
    ...(name === undefined ? {} : { name }),
    ...(subresource === undefined ? {} : { subresource }),
  };
}
