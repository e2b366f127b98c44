import { createHash } from "node:crypto";
import { apiVersionOf, type Resource, type Verb } from "./kinds/resource.ts";
import { sendJson } from "./respond.ts";
import type { ApiRequest, Route } from "./router.ts";

/** A part of an object with a path of its own. */
export interface Subresource {
  readonly of: string;
  readonly ofGroup: string;
  readonly name: string;
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly verbs: readonly Verb[];
}

/** A resource that is only asked, never kept (`selfsubjectaccessreviews`). */
export interface Question {
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly kind: string;
  readonly type: string;
  readonly namespaced: boolean;
}

export interface Served {
  readonly resources: readonly Resource[];
  readonly subresources: readonly Subresource[];
  readonly questions: readonly Question[];
}

interface ApiResource {
  readonly name: string;
  readonly singularName: string;
  readonly namespaced: boolean;
  readonly group?: string;
  readonly version?: string;
  readonly kind: string;
  readonly verbs: readonly string[];
  readonly shortNames?: readonly string[];
  readonly categories?: readonly string[];
  readonly storageVersionHash?: string;
}

/** `/api`, `/apis` and what is below: which resources there are, in the plain and in the aggregated form. */
export function discoveryRoutes(served: Served): Route[] {
  // A group may have nothing but a part of another's objects: clients look for it before they evict.
  const all = [...served.resources, ...served.questions, ...served.subresources];
  const groupVersions = [...new Set(all.map(apiVersionOf))];
  const groups = [...new Set(all.map((one) => one.group))].filter((name) => name !== "");
  const named = groupVersions.filter((gv) => gv !== "v1").sort();
  const group = (name: string): object => ({
    name,
    versions: [{ groupVersion: `${name}/v1`, version: "v1" }],
    preferredVersion: { groupVersion: `${name}/v1`, version: "v1" },
  });
  const list = (groupVersion: string): object => ({
    kind: "APIResourceList",
    ...(groupVersion === "v1" ? {} : { apiVersion: "v1" }),
    groupVersion,
    resources: resourcesOf(served, groupVersion),
  });
  const get = (path: string, handle: Route["handle"]): Route => ({ methods: ["GET"], path, handle });
  const json = (path: string, value: object): Route =>
    get(path, (request, response) => sendJson(request, response, 200, value));
  return [
    get("/api", (request, response) => {
      if (aggregated(request, response, served, [""])) return;
      const { localAddress, localPort } = request.raw.socket;
      const host =
        localAddress?.includes(":") === true && !localAddress.startsWith("::ffff:")
          ? `[${localAddress}]`
          : localAddress?.replace("::ffff:", "");
      sendJson(request, response, 200, {
        kind: "APIVersions",
        versions: ["v1"],
        serverAddressByClientCIDRs: [{ clientCIDR: "0.0.0.0/0", serverAddress: `${host}:${localPort}` }],
      });
    }),
    get("/apis", (request, response) => {
      if (aggregated(request, response, served, groups)) return;
      sendJson(request, response, 200, { kind: "APIGroupList", apiVersion: "v1", groups: groups.map(group) });
    }),
    json("/api/v1", list("v1")),
    ...groups.map((name) => json(`/apis/${name}`, { kind: "APIGroup", apiVersion: "v1", ...group(name) })),
    ...named.map((groupVersion) => json(`/apis/${groupVersion}`, list(groupVersion))),
  ];
}

function resourcesOf(served: Served, groupVersion: string): ApiResource[] {
  const found: ApiResource[] = [];
  for (const resource of served.resources) {
    if (apiVersionOf(resource) !== groupVersion) continue;
    found.push({
      name: resource.resource,
      singularName: resource.singular,
      namespaced: resource.namespaced,
      kind: resource.kind,
      verbs: resource.verbs,
      ...(resource.shortNames === undefined ? {} : { shortNames: resource.shortNames }),
      ...(resource.categories === undefined ? {} : { categories: resource.categories }),
      storageVersionHash: createHash("sha256").update(`${resource.storedAs}/v1`).digest("base64").slice(0, 11) + "=",
    });
  }
  for (const sub of served.subresources) {
    const of = served.resources.find((resource) => resource.resource === sub.of && resource.group === sub.ofGroup);
    if (of === undefined || apiVersionOf(of) !== groupVersion) continue;
    const foreign = sub.group !== of.group || sub.version !== of.version;
    found.push({
      name: `${sub.of}/${sub.name}`,
      singularName: "",
      namespaced: of.namespaced,
      ...(foreign ? { group: sub.group, version: sub.version } : {}),
      kind: sub.kind,
      verbs: sub.verbs,
    });
  }
  for (const question of served.questions)
    if (apiVersionOf(question) === groupVersion)
      found.push({
        name: question.resource,
        singularName: question.kind.toLowerCase(),
        namespaced: question.namespaced,
        kind: question.kind,
        verbs: ["create"],
      });
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Answers in the aggregated form where the client asks for it (KEP-3352). */
function aggregated(
  request: ApiRequest,
  response: Parameters<Route["handle"]>[1],
  served: Served,
  groups: readonly string[],
): boolean {
  const asked = /as=APIGroupDiscoveryList/i.test(request.raw.headers.accept ?? "");
  const version = /v=(v2beta1|v2)\b/i.exec(
    (request.raw.headers.accept ?? "").split(",").find((r) => /v=v2/i.test(r)) ?? "",
  )?.[1];
  if (!asked || version === undefined) return false;
  const items = groups.map((name) => ({
    metadata: name === "" ? { creationTimestamp: null } : { name, creationTimestamp: null },
    versions: [
      { version: "v1", resources: discovered(served, name, name === "" ? "v1" : `${name}/v1`), freshness: "Current" },
    ],
  }));
  const body = { kind: "APIGroupDiscoveryList", apiVersion: `apidiscovery.k8s.io/${version}`, metadata: {}, items };
  const text = `${JSON.stringify(body)}\n`;
  const etag = `"${createHash("sha256").update(text).digest("hex").toUpperCase()}"`;
  response.setHeader("ETag", etag);
  response.setHeader("Vary", "Accept");
  response.setHeader("Cache-Control", "no-cache, private");
  if (request.raw.headers["if-none-match"] === etag) {
    response.writeHead(304);
    response.end();
    return true;
  }
  response.writeHead(200, {
    "Content-Type": `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`,
    "Content-Length": Buffer.byteLength(text),
  });
  response.end(text);
  return true;
}

function discovered(served: Served, group: string, groupVersion: string): object[] {
  const all = resourcesOf(served, groupVersion);
  const kind = (resource: ApiResource): object => ({
    group: resource.group ?? group,
    version: resource.version ?? "v1",
    kind: resource.kind,
  });
  return all
    .filter((resource) => !resource.name.includes("/"))
    .map((resource) => {
      const parts = all.filter((other) => other.name.startsWith(`${resource.name}/`));
      return {
        resource: resource.name,
        responseKind: kind(resource),
        scope: resource.namespaced ? "Namespaced" : "Cluster",
        singularResource: resource.singularName,
        verbs: resource.verbs,
        ...(resource.shortNames === undefined ? {} : { shortNames: resource.shortNames }),
        ...(resource.categories === undefined ? {} : { categories: resource.categories }),
        ...(parts.length === 0
          ? {}
          : {
              subresources: parts.map((part) => ({
                subresource: part.name.slice(resource.name.length + 1),
                responseKind: kind(part),
                verbs: part.verbs,
              })),
            }),
      };
    });
}
