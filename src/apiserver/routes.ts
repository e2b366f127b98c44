import type { ServerResponse } from "node:http";
import { QUESTIONS, review, type Knowledge } from "./reviews.ts";
import type { Served, Subresource } from "./discovery.ts";
import { finalize } from "./finalize.ts";
import { pods } from "./kinds/pod.ts";
import { apiVersionOf, type Resource } from "./kinds/resource.ts";
import type { Objects } from "./objects.ts";
import type { ServedResource } from "./openapi/index.ts";
import { bind, evict } from "./pod-parts.ts";
import type { Access, ApiRequest, Route } from "./router.ts";
import { badRequest } from "./status.ts";
import { requestToken } from "./token-request.ts";
import type { Part } from "./patch-verb.ts";
import { Verbs } from "./verbs.ts";

const part = (
  of: string,
  name: string,
  kind: string,
  verbs: Subresource["verbs"],
  group = "",
  version = "v1",
): Subresource => ({
  of,
  ofGroup: "",
  name,
  group,
  version,
  kind,
  verbs,
});

const EDITED = ["get", "patch", "update"] as const;

const SUBRESOURCES: readonly Subresource[] = [
  part("namespaces", "finalize", "Namespace", ["update"]),
  part("namespaces", "status", "Namespace", EDITED),
  part("nodes", "status", "Node", EDITED),
  part("pods", "attach", "PodAttachOptions", ["create", "get"]),
  part("pods", "binding", "Binding", ["create"]),
  part("pods", "ephemeralcontainers", "Pod", EDITED),
  part("pods", "eviction", "Eviction", ["create"], "policy", "v1"),
  part("pods", "exec", "PodExecOptions", ["create", "get"]),
  part("pods", "log", "Pod", ["get"]),
  part("pods", "portforward", "PodPortForwardOptions", ["create", "get"]),
  part("pods", "status", "Pod", EDITED),
  part("serviceaccounts", "token", "TokenRequest", ["create"], "authentication.k8s.io", "v1"),
];

/** Not kept either: a Pod is what a binding changes. */
const BINDINGS = {
  group: "",
  version: "v1",
  resource: "bindings",
  kind: "Binding",
  type: "v1.Binding",
  namespaced: true,
};
const ASKED = [BINDINGS, ...QUESTIONS];

export const servedBy = (resources: readonly Resource[]): Served => ({
  resources,
  subresources: SUBRESOURCES,
  questions: ASKED,
});

const PART_TYPES: Readonly<Record<string, string>> = { Binding: "v1.Binding", TokenRequest: "authn.TokenRequest" };

/** What OpenAPI tells: the resources with their parts, and what can only be asked. */
export function describedBy(resources: readonly Resource[]): ServedResource[] {
  const described = resources.map((resource): ServedResource => {
    const parts = SUBRESOURCES.filter((sub) => sub.of === resource.resource && sub.ofGroup === resource.group);
    const typeOf = ({ kind }: Subresource): string =>
      kind === resource.kind ? resource.type : (PART_TYPES[kind] ?? "");
    return { ...resource, subresources: parts.map((sub) => ({ ...sub, type: typeOf(sub) })) };
  });
  return [...described, ...ASKED.map((question) => ({ ...question, verbs: ["create"] }))];
}

type Params = Readonly<Record<string, string>>;
type Handle = (request: ApiRequest, response: ServerResponse) => Promise<void> | void;

/** The paths of all resources, with what each asks of authorization. */
export function resourceRoutes(objects: Objects, resources: readonly Resource[], known: Knowledge): Route[] {
  return [
    ...resources.flatMap((resource) => standard(objects, resource)),
    ...podRoutes(objects),
    route(
      "POST",
      "/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token",
      access("create", "", "serviceaccounts", "token"),
      (request, response) => requestToken(request, response, objects, known.host, known.tokens),
    ),
    route(
      "PUT",
      "/api/v1/namespaces/{name}/finalize",
      access("update", "", "namespaces", "finalize"),
      (request, response) => finalize(request, response, objects),
    ),
    ...QUESTIONS.map((question) =>
      route(
        "POST",
        `/apis/${question.group}/v1/${question.namespaced ? "namespaces/{namespace}/" : ""}${question.resource}`,
        access("create", question.group, question.resource),
        (request, response) => review(question, request, response, known),
      ),
    ),
  ];
}

function standard(objects: Objects, resource: Resource): Route[] {
  const verbs = new Verbs(objects, resource);
  const { group, resource: plural } = resource;
  const root = group === "" ? "/api/v1" : `/apis/${apiVersionOf(resource)}`;
  const base = resource.namespaced ? `${root}/namespaces/{namespace}/${plural}` : `${root}/${plural}`;
  const item = `${base}/{name}`;
  const has = (verb: (typeof resource.verbs)[number]): boolean => resource.verbs.includes(verb);
  const reading = access("list", group, plural);
  const routes: Route[] = [
    route("GET", base, reading, (request, response) => verbs.list(request, response)),
    route("POST", base, access("create", group, plural), (request, response) => verbs.create(request, response)),
    route("GET", item, access("get", group, plural), (request, response) => verbs.get(request, response)),
    route("PUT", item, access("update", group, plural), (request, response) => verbs.update(request, response)),
    route("PATCH", item, access("patch", group, plural), (request, response) => verbs.patch(request, response)),
    route("DELETE", item, access("delete", group, plural), (request, response) => verbs.delete(request, response)),
  ];
  if (resource.namespaced)
    routes.push(route("GET", `${root}/${plural}`, reading, (request, response) => verbs.list(request, response)));
  if (has("deletecollection"))
    routes.push(
      route("DELETE", base, access("deletecollection", group, plural), (request, response) =>
        verbs.deleteCollection(request, response),
      ),
    );
  if (resource.hasStatus) routes.push(...partRoutes(verbs, item, group, plural, "status"));
  return [...routes, ...watchRoutes(verbs, resource, root)];
}

/** The paths that watches had before lists took `watch=1`, of many or of one by its name. */
function watchRoutes(verbs: Verbs, { group, resource: plural, namespaced }: Resource, root: string): Route[] {
  const base = namespaced ? `${root}/watch/namespaces/{namespace}/${plural}` : `${root}/watch/${plural}`;
  const paths = [base, `${base}/{name}`, ...(namespaced ? [`${root}/watch/${plural}`] : [])];
  return paths.map((path) =>
    route("GET", path, access("watch", group, plural), (request, response) => {
      const query = new URLSearchParams(request.query);
      const { name } = request.params;
      query.set("watch", "true");
      if (name !== undefined) {
        const selected = query.get("fieldSelector") || `metadata.name=${name}`;
        if (!selected.split(",").includes(`metadata.name=${name}`))
          throw badRequest("fieldSelector metadata.name doesn't match requested name");
        query.set("fieldSelector", selected);
      }
      return verbs.list({ ...request, query }, response);
    }),
  );
}

function partRoutes(
  verbs: Verbs,
  item: string,
  group: string,
  plural: string,
  name: Exclude<Part, undefined>,
): Route[] {
  const path = `${item}/${name}`;
  return [
    route("GET", path, access("get", group, plural, name), (request, response) => verbs.get(request, response)),
    route("PUT", path, access("update", group, plural, name), (request, response) =>
      verbs.update(request, response, name),
    ),
    route("PATCH", path, access("patch", group, plural, name), (request, response) =>
      verbs.patch(request, response, name),
    ),
  ];
}

function podRoutes(objects: Objects): Route[] {
  const item = "/api/v1/namespaces/{namespace}/pods/{name}";
  const verbs = new Verbs(objects, pods);
  return [
    ...partRoutes(verbs, item, "", "pods", "ephemeralcontainers"),
    route("POST", `${item}/binding`, access("create", "", "pods", "binding"), (request, response) =>
      bind(request, response, objects),
    ),
    route("POST", "/api/v1/namespaces/{namespace}/bindings", access("create", "", "bindings"), (request, response) =>
      bind(request, response, objects),
    ),
    route("POST", `${item}/eviction`, access("create", "", "pods", "eviction"), (request, response) =>
      evict(request, response, objects),
    ),
  ];
}

function route(method: string, path: string, what: Route["access"], handle: Handle): Route {
  return { methods: [method], path, ...(what === undefined ? {} : { access: what }), handle };
}

function access(verb: string, group: string, resource: string, subresource?: string) {
  return ({ namespace, name }: Params): Access => ({
    kind: "resource",
    verb,
    group,
    resource,
    ...(subresource === undefined ? {} : { subresource }),
    ...(namespace === undefined ? {} : { namespace }),
    ...(name === undefined ? {} : { name }),
  });
}
