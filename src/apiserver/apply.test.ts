import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { startTestApi, type Answer, type TestApi } from "../../test/support/api.ts";

const PODS = "/api/v1/namespaces/default/pods";
const MAPS = "/api/v1/namespaces/default/configmaps";
const APPLY = { "Content-Type": "application/apply-patch+yaml" };
const MERGE = { "Content-Type": "application/merge-patch+json" };

async function api(t: TestContext): Promise<TestApi> {
  const dir = await mkdtemp(join(tmpdir(), "orlop-apply-"));
  const opened = await startTestApi(dir);
  t.after(async () => {
    await opened[Symbol.asyncDispose]();
    await rm(dir, { recursive: true, force: true });
  });
  return opened;
}

const configMap = (data?: object, metadata: object = {}): object => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name: "m", namespace: "default", ...metadata },
  ...(data === undefined ? {} : { data }),
});

const pod = (spec: object, more: object = {}): object => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "p", namespace: "default" },
  spec,
  ...more,
});

type Applying = (body: unknown, manager?: string, query?: string) => Promise<Answer>;

const applier =
  ({ request }: TestApi, path: string): Applying =>
  (body, manager = "one", query = "") =>
    request("PATCH", `${path}?fieldManager=${manager}${query}`, body, APPLY);

const managers = (answer: Answer): unknown[] =>
  (answer.json.metadata.managedFields ?? []).map(({ manager, operation, fieldsV1 }) => [manager, operation, fieldsV1]);

test("a configuration that does not fit its schema is refused, each field by its path", async (t) => {
  const apply = applier(await api(t), `${PODS}/p`);
  const cases: [object, string][] = [
    [{ containers: [{ name: "c", odd: 1 }] }, '.spec.containers[name="c"].odd: field not declared in schema'],
    [
      { containers: [{ name: "c", image: 5 }] },
      '.spec.containers[name="c"].image: expected string, got &value.valueUnstructured{Value:5}',
    ],
    [{ containers: [{ name: "c", tty: "yes" }] }, '.spec.containers[name="c"].tty: expected boolean, got &{yes}'],
    [{ priority: "high" }, ".spec.priority: expected numeric (int or float), got string"],
    [{ containers: { name: "c" } }, ".spec.containers: expected list, got &{map[name:c]}"],
    [{ securityContext: [1, 2] }, ".spec.securityContext: expected map, got &{[1 2]}"],
    [{ tolerations: [{ key: "a" }, { odd: 1 }] }, ".spec.tolerations[1].odd: field not declared in schema"],
    [{ containers: [{ name: "c" }, { name: "c" }] }, '.spec.containers: duplicate entries for key [name="c"]'],
    [
      { containers: [{ image: "a" }] },
      '.spec.containers: element 0: associative list with keys has an element that omits all key fields ["name"] (and doesn\'t have default values for any key fields)',
    ],
    [
      { containers: [{ name: "c", ports: [{ containerPort: 80 }, { containerPort: 80, protocol: "TCP" }] }] },
      '.spec.containers[name="c"].ports: duplicate entries for key [containerPort=80,protocol="TCP"]',
    ],
    [
      { hostNetwork: "x", hostPID: "y" },
      "errors:\n  .spec.hostNetwork: expected boolean, got &{x}\n  .spec.hostPID: expected boolean, got &{y}",
    ],
  ];
  for (const [spec, why] of cases) {
    const answer = await apply(pod(spec));
    const message = `failed to create typed patch object (default/p; /v1, Kind=Pod): ${why}`;
    assert.deepEqual([answer.status, answer.json.message], [500, message]);
  }
});

test("a scalar that fits its schema and not its type is found when it is merged", async (t) => {
  const apply = applier(await api(t), `${PODS}/p`);
  const limits = { memory: "much" };
  const answer = await apply(pod({ containers: [{ name: "c", image: "a", resources: { limits } }] }));
  assert.equal(answer.status, 500);
  assert.match(
    answer.json.message ?? "",
    /^failed to convert new object \(default\/p; \/v1, Kind=Pod\) to proper version: quantities must match the regular expression/,
  );
});

test("what is no configuration of this object is a bad request", async (t) => {
  const apply = applier(await api(t), `${MAPS}/m`);
  const said = async (body: unknown): Promise<unknown[]> => {
    const { status, json } = await apply(body);
    return [status, json.message];
  };
  assert.deepEqual(await said({ kind: "Secret", apiVersion: "v1" }), [400, "invalid object type: /v1, Kind=Secret"]);
  assert.deepEqual(await said({ kind: "ConfigMap", apiVersion: "a/v2" }), [
    400,
    "invalid object type: a/v2, Kind=ConfigMap",
  ]);
  assert.deepEqual(await said(configMap({}, { managedFields: [] })), [400, "metadata.managedFields must be nil"]);
  assert.deepEqual(await said(configMap({}, { name: undefined })), [
    400,
    "the name of the object (m based on URL) was undeterminable: name must be provided",
  ]);
  assert.deepEqual(await said(configMap({}, { name: "n" })), [
    400,
    "the name of the object (n) does not match the name on the URL (m)",
  ]);
  assert.deepEqual(await said(configMap({}, { uid: "u" })), [
    409,
    'Operation cannot be fulfilled on configmaps "m": uid mismatch: the provided object specified uid u, and no existing object was found',
  ]);
  assert.match((await said("a: [")).join(), /^400,error decoding YAML: error converting YAML to JSON: yaml: /);
  assert.equal((await apply(configMap({}, { resourceVersion: "7" }), "one", "&dryRun=All")).status, 201);
  const twice = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata:\n  a: '1'\n  a: '2'\n";
  const found = 'error converting YAML to JSON: yaml: unmarshal errors:\n  line 6: key "a" already set in map';
  const strict = await apply(twice, "one", "&fieldValidation=Strict&dryRun=All");
  assert.deepEqual([strict.status, strict.json.message], [400, `error strict decoding YAML: ${found}`]);
  assert.match(
    (await apply(twice, "one", "&dryRun=All")).headers.get("warning") ?? "",
    /key \\"a\\" already set in map"$/,
  );
  const nameless = await apply(configMap(), "");
  assert.deepEqual(
    [nameless.status, nameless.json.message],
    [422, 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'],
  );
});

test("conflicts are told by manager, and a forced apply takes the fields over", async (t) => {
  const opened = await api(t);
  const apply = applier(opened, `${MAPS}/m`);
  await apply(configMap({ a: "1", b: "1" }), "one");
  await opened.request(
    "PATCH",
    `${MAPS}/m?fieldManager=hand`,
    { data: { c: "1" }, metadata: { labels: { l: "1" } } },
    MERGE,
  );
  const refused = await apply(configMap({ a: "2", b: "2", c: "2" }, { labels: { l: "2" } }), "two");
  assert.deepEqual(
    [refused.status, refused.json.message],
    [
      409,
      'Apply failed with 4 conflicts: conflicts with "hand" using v1:\n- .data.c\n- .metadata.labels.l\nconflicts with "one":\n- .data.a\n- .data.b',
    ],
  );
  assert.deepEqual(refused.json["details"], {
    causes: [
      { reason: "FieldManagerConflict", message: 'conflict with "hand" using v1', field: ".data.c" },
      { reason: "FieldManagerConflict", message: 'conflict with "hand" using v1', field: ".metadata.labels.l" },
      { reason: "FieldManagerConflict", message: 'conflict with "one"', field: ".data.a" },
      { reason: "FieldManagerConflict", message: 'conflict with "one"', field: ".data.b" },
    ],
  });
  const dry = await apply(configMap({ a: "2" }), "two", "&force=true&dryRun=All");
  assert.deepEqual(dry.json["data"], { a: "2", b: "1", c: "1" });
  const forced = await apply(configMap({ a: "2" }), "two", "&force=true");
  assert.deepEqual(managers(forced), [
    ["one", "Apply", { "f:data": { "f:b": {} } }],
    ["two", "Apply", { "f:data": { "f:a": {} } }],
    ["hand", "Update", { "f:data": { "f:c": {} }, "f:metadata": { "f:labels": { ".": {}, "f:l": {} } } }],
  ]);
});

test("what kubectl applied on its own side before is no conflict to kubectl, and its note is kept up to date", async (t) => {
  const opened = await api(t);
  const annotation = "kubectl.kubernetes.io/last-applied-configuration";
  const noted = configMap({ a: "1", b: "1" });
  const made = configMap({ a: "1", b: "1" }, { annotations: { [annotation]: JSON.stringify(noted) } });
  await opened.request("POST", `${MAPS}?fieldManager=kubectl-client-side-apply`, made);
  const apply = applier(opened, `${MAPS}/m`);
  assert.equal((await apply(configMap({ a: "2" }), "other")).status, 409);
  const applied = await apply(configMap({ a: "2", b: "<1>" }), "kubectl");
  assert.equal(applied.status, 200);
  assert.equal(
    applied.json.metadata.annotations?.[annotation],
    '{"apiVersion":"v1","data":{"a":"2","b":"\\u003c1\\u003e"},"kind":"ConfigMap","metadata":{"name":"m","namespace":"default"}}\n',
  );
  await opened.request("PATCH", `${MAPS}/m?fieldManager=hand`, { data: { a: "3" } }, MERGE);
  const refused = await apply(configMap({ a: "4", b: "<1>" }), "kubectl");
  assert.equal(refused.json.message, 'Apply failed with 1 conflict: conflict with "hand" using v1: .data.a');
});

test("an object without managers was somebody's before the first apply", async (t) => {
  const opened = await api(t);
  await opened.request("POST", MAPS, configMap({ a: "1" }));
  const reset = await opened.request("PATCH", `${MAPS}/m`, { metadata: { managedFields: [{}] } }, MERGE);
  assert.equal(reset.json.metadata.managedFields, undefined);
  const apply = applier(opened, `${MAPS}/m`);
  const refused = await apply(configMap({ a: "2" }));
  assert.equal(
    refused.json.message,
    'Apply failed with 1 conflict: conflict with "before-first-apply" using v1: .data.a',
  );
  const shared = await apply(configMap({ a: "1" }));
  assert.deepEqual(managers(shared), [
    ["one", "Apply", { "f:data": { "f:a": {} } }],
    ["before-first-apply", "Update", { "f:data": { ".": {}, "f:a": {} } }],
  ]);
});

test("what is no longer applied goes, with all of the container that nobody else has", async (t) => {
  const opened = await api(t);
  const apply = applier(opened, `${PODS}/p`);
  const spec = { containers: [{ name: "c", image: "a:1" }], tolerations: [{ key: "mine", operator: "Exists" }] };
  const first = await apply({
    ...pod(spec),
    metadata: { name: "p", labels: { a: "1", b: "1" }, finalizers: ["x.test/a"] },
  });
  assert.equal(first.status, 201);
  await apply({ ...pod({}), metadata: { name: "p", labels: { b: "1" }, finalizers: ["x.test/b"] } }, "two");
  const second = await apply({ ...pod(spec), metadata: { name: "p" } });
  assert.deepEqual(
    [second.json.metadata.labels, second.json.metadata["finalizers" as never]],
    [{ b: "1" }, ["x.test/b"]],
  );
  const third = await apply({ ...pod({}), metadata: { name: "p" } }, "two");
  assert.deepEqual([third.json.metadata.labels, third.json.metadata["finalizers" as never]], [undefined, undefined]);
});

test("items that are applied come in the order they are applied in, among those of others", async (t) => {
  const opened = await api(t);
  await applier(opened, `${PODS}/p`)(pod({ containers: [{ name: "c", image: "a:1" }] }));
  const apply = applier(opened, `${PODS}/p/status`);
  const applied = async (types: string, manager: string): Promise<string> => {
    const conditions = types.split("").map((type) => ({ type, status: "True" }));
    const { json } = await apply(pod({}, { status: { conditions } }), manager);
    return (json["status"] as { conditions: { type: string }[] }).conditions.map(({ type }) => type).join("");
  };
  assert.equal(await applied("BAC", "one"), "BAC");
  assert.equal(await applied("CNA", "two"), "BCNA");
  assert.equal(await applied("MA", "two"), "BCMA", "N goes, C stays with who has it still");
});

test("the status is applied through its own path, and only it", async (t) => {
  const opened = await api(t);
  const apply = applier(opened, `${PODS}/p`);
  await apply(pod({ containers: [{ name: "c", image: "a:1" }] }));
  const status = { conditions: [{ type: "Ready", status: "True" }] };
  const part = applier(opened, `${PODS}/p/status`);
  const done = await part(pod({ hostname: "x" }, { status }), "kubelet");
  assert.equal(done.status, 200);
  const kubelet = done.json.metadata.managedFields?.find(({ manager }) => manager === "kubelet");
  const condition = { ".": {}, "f:status": {}, "f:type": {} };
  assert.deepEqual(kubelet?.fieldsV1, { "f:status": { "f:conditions": { 'k:{"type":"Ready"}': condition } } });
  const other = await part(pod({}, { status: { conditions: [{ type: "Ready", status: "False" }] } }), "other");
  assert.equal(
    other.json.message,
    'Apply failed with 1 conflict: conflict with "kubelet" with subresource "status": .status.conditions[type="Ready"].status',
  );
  const ephemeral = applier(opened, `${PODS}/p/ephemeralcontainers`);
  const debug = { ephemeralContainers: [{ name: "d", image: "b:1" }], containers: [{ name: "c", image: "a:1" }] };
  const debugged = await ephemeral(pod(debug), "debugger");
  const owned = { "f:ephemeralContainers": { 'k:{"name":"d"}': { ".": {}, "f:image": {}, "f:name": {} } } };
  assert.deepEqual(debugged.json.metadata.managedFields?.find(({ manager }) => manager === "debugger")?.fieldsV1, {
    "f:spec": owned,
  });
  const missing = await opened.request("PATCH", `${PODS}/none/status?fieldManager=x`, pod({}), APPLY);
  assert.deepEqual([missing.status, missing.json.message], [404, 'pods "none" not found']);
});

test("of more than ten who updated, the oldest share an entry", async (t) => {
  const opened = await api(t);
  await opened.request("POST", `${MAPS}?fieldManager=m00`, configMap({ m00: "1" }));
  for (let i = 1; i < 12; i++) {
    const name = `m${String(i).padStart(2, "0")}`;
    await opened.request("PATCH", `${MAPS}/m?fieldManager=${name}`, { data: { [name]: "1" } }, MERGE);
  }
  const names = managers(await opened.request("GET", `${MAPS}/m`)).map((entry) => (entry as string[])[0]);
  assert.equal(names.length, 10);
  assert.ok(names.includes("ancient-changes") && !names.includes("m00") && names.includes("m11"));
});
