import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { Router, type ApiRequest } from "../router.ts";
import { statusOf } from "../status.ts";
import { definitionName } from "./definitions.ts";
import { ENUMS } from "./enums.ts";
import { openApiRoutes, type ServedResource } from "./index.ts";

const ALL = ["create", "get", "list", "watch", "update", "patch", "delete", "deletecollection"];
const core = (kind: string, resource: string): ServedResource => ({
  group: "",
  version: "v1",
  kind,
  type: `v1.${kind}`,
  resource,
  namespaced: kind !== "Node",
  verbs: ALL,
});
const pods = core("Pod", "pods");
const RESOURCES: readonly ServedResource[] = [
  {
    ...pods,
    subresources: [
      { ...pods, name: "status", verbs: ["get", "update", "patch"] },
      { ...pods, name: "log", verbs: ["get"] },
      { ...pods, name: "exec", kind: "PodExecOptions", type: "", verbs: ["create", "get"] },
      { ...pods, name: "eviction", group: "policy", kind: "Eviction", type: "", verbs: ["create"] },
    ],
  },
  core("Node", "nodes"),
  core("ConfigMap", "configmaps"),
  core("Namespace", "namespaces"),
  { ...core("Lease", "leases"), group: "coordination.k8s.io", type: "coordination.Lease" },
];

async function serve(t: TestContext): Promise<string> {
  const router = new Router();
  router.add(...openApiRoutes(RESOURCES, "v1.36.2"));
  const server = createServer((raw, response) => {
    const url = new URL(raw.url ?? "/", "http://x");
    const found = router.find(raw.method ?? "GET", url.pathname);
    void (async () => {
      try {
        assert.ok(typeof found !== "string");
        const request = { path: url.pathname, method: raw.method, query: url.searchParams, params: found.params, raw };
        await found.route.handle(request as unknown as ApiRequest, response);
      } catch (error) {
        response.writeHead(statusOf(error).code).end(JSON.stringify(statusOf(error)));
      }
    })();
  });
  t.after(() => server.close());
  await once(server.listen(0, "127.0.0.1"), "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

interface Schema {
  readonly [key: string]: unknown;
  readonly properties?: Record<string, Schema>;
}
interface Document {
  readonly paths: Record<string, Record<string, Record<string, unknown> & { parameters: { name: string }[] }>>;
  readonly definitions: Record<string, Schema>;
  readonly components: { schemas: Record<string, Schema> };
}
const get = async <T>(url: string, headers: Record<string, string> = {}): Promise<T> => {
  const response = await fetch(url, { headers });
  assert.equal(response.status, 200);
  return (await response.json()) as T;
};
const index = (base: string): Promise<{ paths: Record<string, { serverRelativeURL: string }> }> =>
  get(`${base}/openapi/v3`);

test("each group version has a document, and the hash in its address lets it be kept for ever", async (t) => {
  const base = await serve(t);
  const { paths } = await index(base);
  assert.deepEqual(Object.keys(paths), ["api/v1", "apis/coordination.k8s.io/v1"]);
  const response = await fetch(base + paths["api/v1"]?.serverRelativeURL);
  assert.equal(response.headers.get("cache-control"), "public, immutable");
  await response.arrayBuffer();
  const old = await fetch(`${base}/openapi/v3/api/v1?hash=0`, { redirect: "manual" });
  assert.equal(old.status, 301);
  assert.equal(old.headers.get("location"), paths["api/v1"]?.serverRelativeURL);
  assert.equal((await fetch(`${base}/openapi/v3/apis/none/v1`)).status, 404);
  const etag = response.headers.get("etag") ?? "";
  assert.equal((await fetch(`${base}/openapi/v3/api/v1`, { headers: { "if-none-match": etag } })).status, 304);
});

test("every reference leads somewhere, in both forms", async (t) => {
  const base = await serve(t);
  const documents = [await get<Document>(`${base}/openapi/v2`)];
  for (const { serverRelativeURL } of Object.values((await index(base)).paths))
    documents.push(await get<Document>(base + serverRelativeURL));
  for (const document of documents) {
    const known = document.definitions ?? document.components.schemas;
    const refs = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map((match) => match[1] ?? "");
    assert.ok(refs.length > 20);
    for (const ref of new Set(refs)) assert.ok(ref.replace(/^.*\//, "") in known, ref);
  }
});

test("merge keys, list kinds and defaults stand where apply looks for them", async (t) => {
  const base = await serve(t);
  const v2 = (await get<Document>(`${base}/openapi/v2`)).definitions;
  const v3 = (await get<Document>(`${base}/openapi/v3/api/v1`)).components.schemas;
  for (const schemas of [v2, v3]) {
    const spec = schemas["io.k8s.api.core.v1.PodSpec"];
    const volumes = spec?.properties?.["volumes"];
    assert.equal(volumes?.["x-kubernetes-patch-merge-key"], "name");
    assert.equal(volumes?.["x-kubernetes-patch-strategy"], "merge,retainKeys");
    assert.deepEqual(volumes?.["x-kubernetes-list-map-keys"], ["name"]);
    assert.equal(spec?.properties?.["tolerations"]?.["x-kubernetes-list-type"], "atomic");
    assert.deepEqual(spec?.["required"], ["containers"]);
    assert.equal(schemas["io.k8s.api.core.v1.ContainerPort"]?.properties?.["protocol"]?.["default"], "TCP");
    assert.deepEqual(schemas["io.k8s.api.core.v1.Pod"]?.["x-kubernetes-group-version-kind"], [
      { group: "", kind: "Pod", version: "v1" },
    ]);
    assert.match(String(schemas["io.k8s.api.core.v1.Volume"]?.properties?.["image"]?.["description"]), /read-only/);
  }
});

test("writes say that they take fieldValidation and dryRun, for the kind they write", async (t) => {
  const { paths } = await get<Document>(`${await serve(t)}/openapi/v3/api/v1`);
  const pod = paths["/api/v1/namespaces/{namespace}/pods/{name}"];
  for (const method of ["put", "patch"]) {
    const names = pod?.[method]?.parameters.map((one) => one.name);
    assert.ok(names?.includes("fieldValidation") && names.includes("dryRun"), method);
    assert.deepEqual(pod?.[method]?.["x-kubernetes-group-version-kind"], { group: "", kind: "Pod", version: "v1" });
  }
  assert.ok(paths["/api/v1/pods"]?.["get"]);
  assert.ok(paths["/api/v1/nodes/{name}"] && !paths["/api/v1/namespaces/{namespace}/nodes/{name}"]);
  assert.deepEqual(Object.keys(paths["/api/v1/namespaces/{namespace}/pods/{name}/status"] ?? {}).sort(), [
    "get",
    "parameters",
    "patch",
    "put",
  ]);
});

test("the form of the answer follows Accept: protobuf for old clients, JSON by default, gzip if asked", async (t) => {
  const base = await serve(t);
  const ask = (accept: string): Promise<Response> => fetch(`${base}/openapi/v2`, { headers: { accept } });
  const protobuf = await ask("application/com.github.proto-openapi.spec.v2@v1.0+protobuf");
  assert.equal(protobuf.headers.get("content-type"), "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
  assert.deepEqual([...new Uint8Array(await protobuf.arrayBuffer()).subarray(0, 5)], [0x0a, 3, 0x32, 0x2e, 0x30]);
  assert.equal((await ask("application/json, */*")).headers.get("content-type"), "application/json");
  assert.equal((await ask("text/html")).status, 406);
  const zipped = await fetch(`${base}/openapi/v2`, { headers: { "accept-encoding": "gzip" } });
  assert.equal(zipped.headers.get("content-encoding"), "gzip");
  assert.equal(((await zipped.json()) as { swagger: string }).swagger, "2.0");
});

test("a field that is bound to some values names them, in its schema and in its words", async (t) => {
  const base = await serve(t);
  const { paths } = await index(base);
  const { components } = await get<Document>(base + paths["api/v1"]?.serverRelativeURL);
  const field = components.schemas["io.k8s.api.core.v1.Container"]?.properties?.["imagePullPolicy"];
  assert.deepEqual(field?.["enum"], ["Always", "IfNotPresent", "Never"]);
  assert.match(
    String(field?.["description"]),
    /\n\nPossible enum values:\n - `"Always"`\n - `"IfNotPresent"`\n - `"Never"`$/,
  );
  const types = new Set([...ENUMS.keys()].map((key) => key.slice(0, key.lastIndexOf("."))));
  for (const type of types) {
    const schema = components.schemas[definitionName(type)];
    const bound = [...ENUMS.keys()]
      .filter((key) => key.startsWith(`${type}.`))
      .map((key) => key.slice(type.length + 1));
    for (const name of bound) assert.ok(Array.isArray(schema?.properties?.[name]?.["enum"]), `${type}.${name}`);
  }
});

test("a log and a connection take what they take, and give text", async (t) => {
  const base = await serve(t);
  const { paths } = await get<Document>(`${base}/openapi/v2`);
  const log = paths["/api/v1/namespaces/{namespace}/pods/{name}/log"]?.["get"];
  assert.deepEqual([log?.["operationId"], log?.["x-kubernetes-action"]], ["readCoreV1NamespacedPodLog", "get"]);
  assert.ok(log?.parameters.some(({ name }) => name === "tailLines"));
  const exec = paths["/api/v1/namespaces/{namespace}/pods/{name}/exec"]?.["post"];
  assert.deepEqual(
    [exec?.["operationId"], exec?.["x-kubernetes-action"], exec?.["x-kubernetes-group-version-kind"]],
    ["connectCoreV1PostNamespacedPodExec", "connect", { group: "", kind: "PodExecOptions", version: "v1" }],
  );
  const read = paths["/api/v1/namespaces/{namespace}/pods/{name}"]?.["get"];
  assert.deepEqual(read?.parameters, [], "what is read takes no body");
});
