import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import type { ApiServerOptions, User } from "#apiserver";
import { startTestApi, testPod, type Answer, type Json, type TestApi, type WatchLine } from "../../test/support/api.ts";

const PODS = "/api/v1/namespaces/default/pods";
const MERGE = { "Content-Type": "application/merge-patch+json" };
const APPLY = { "Content-Type": "application/apply-patch+yaml" };

async function api(t: TestContext, options: Partial<ApiServerOptions> = {}): Promise<TestApi & { dir: string }> {
  const dir = await mkdtemp(join(tmpdir(), "orlop-api-"));
  const opened = await startTestApi(dir, options);
  t.after(async () => {
    await opened[Symbol.asyncDispose]();
    await rm(dir, { recursive: true, force: true });
  });
  return { ...opened, dir };
}

const names = (list: Json): string[] => (list.items ?? []).map((item) => item.metadata.name);

async function lines(watch: AsyncGenerator<WatchLine>, count: number): Promise<WatchLine[]> {
  const found: WatchLine[] = [];
  for await (const line of watch) if (found.push(line) === count) break;
  return found;
}

test("a fresh server has its four namespaces, each with a service account, and keeps all over a restart", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "orlop-api-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  let before = "";
  {
    await using first = await startTestApi(dir);
    const list = await first.request("GET", "/api/v1/namespaces");
    assert.deepEqual(names(list.json), ["default", "kube-node-lease", "kube-public", "kube-system"]);
    assert.equal((await first.request("GET", "/api/v1/serviceaccounts")).json.items?.length, 4);
    await first.request("POST", PODS, testPod("kept"));
    before = (await first.request("GET", `${PODS}/kept`)).text;
  }
  await using second = await startTestApi(dir);
  assert.equal((await second.request("GET", `${PODS}/kept`)).text, before);
  const { resourceVersion } = (await second.request("GET", PODS)).json.metadata;
  assert.ok(Number(resourceVersion) >= 9, "versions go on where they were");
});

test("a bound Pod gets its grace; an unbound one goes at once; grace 0 ends it", async (t) => {
  const { request } = await api(t);
  await request("POST", PODS, testPod("free"));
  assert.equal((await request("DELETE", `${PODS}/free`)).status, 200);
  assert.equal((await request("GET", `${PODS}/free`)).status, 404);

  await request("POST", PODS, testPod("bound", { nodeName: "n1" }));
  const marked = (await request("DELETE", `${PODS}/bound`, { gracePeriodSeconds: 20 })).json.metadata;
  assert.equal(marked.deletionGracePeriodSeconds, 20);
  assert.equal(marked.generation, 2);
  const longer = (await request("DELETE", `${PODS}/bound`, { gracePeriodSeconds: 60 })).json.metadata;
  assert.equal(longer.deletionGracePeriodSeconds, 20, "a grace is never lengthened");
  const shorter = (await request("DELETE", `${PODS}/bound`, { gracePeriodSeconds: 5 })).json.metadata;
  assert.equal(shorter.deletionGracePeriodSeconds, 5);
  assert.ok((shorter.deletionTimestamp ?? "") < (marked.deletionTimestamp ?? ""));
  assert.equal((await request("DELETE", `${PODS}/bound`, { gracePeriodSeconds: 0 })).status, 200);
  assert.equal((await request("GET", `${PODS}/bound`)).status, 404);
});

test("finalizers hold an object until the last is taken off", async (t) => {
  const { request } = await api(t);
  const map = { kind: "ConfigMap", apiVersion: "v1", metadata: { name: "m", finalizers: ["x.test/y"] } };
  const maps = "/api/v1/namespaces/default/configmaps";
  await request("POST", maps, map);
  assert.ok((await request("DELETE", `${maps}/m`)).json.metadata.deletionTimestamp !== undefined);
  const added = await request("PATCH", `${maps}/m`, { metadata: { finalizers: ["x.test/y", "z.test/z"] } }, MERGE);
  assert.match(added.json.message ?? "", /no new finalizers can be added if the object is being deleted/);
  assert.equal((await request("PATCH", `${maps}/m`, { metadata: { finalizers: null } }, MERGE)).status, 200);
  assert.equal((await request("GET", `${maps}/m`)).status, 404);
});

test("preconditions guard deletions and updates", async (t) => {
  const { request } = await api(t);
  const made = (await request("POST", PODS, testPod("p"))).json;
  const wrong = await request("DELETE", `${PODS}/p`, { preconditions: { uid: "other" } });
  assert.equal(wrong.status, 409);
  assert.equal(
    wrong.json.message,
    `Operation cannot be fulfilled on Pod "p": the UID in the precondition (other) does not match the UID in record (${made.metadata.uid}). The object might have been deleted and then recreated`,
  );
  const stale = { ...made, metadata: { ...made.metadata, resourceVersion: "1" } };
  const conflict = await request("PUT", `${PODS}/p`, stale);
  assert.equal(conflict.json.reason, "Conflict");
  assert.match(conflict.json.message ?? "", /the object has been modified; please apply your changes to the latest/);
});

test("a list comes in pages, and fields and labels select", async (t) => {
  const { request } = await api(t);
  for (const name of ["a", "b", "c", "d", "e"])
    await request("POST", PODS, testPod(name, name === "c" ? { nodeName: "n1" } : {}, { first: String(name < "c") }));
  const first = (await request("GET", `${PODS}?limit=2`)).json;
  assert.deepEqual(names(first), ["a", "b"]);
  assert.equal(first.metadata.remainingItemCount, 3);
  const second = (await request("GET", `${PODS}?limit=2&continue=${first.metadata.continue}`)).json;
  assert.deepEqual(names(second), ["c", "d"]);
  const third = (await request("GET", `${PODS}?limit=2&continue=${second.metadata.continue}`)).json;
  assert.deepEqual([names(third), third.metadata.continue], [["e"], undefined]);
  assert.deepEqual(names((await request("GET", `${PODS}?labelSelector=first%3Dtrue`)).json), ["a", "b"]);
  assert.deepEqual(names((await request("GET", `/api/v1/pods?fieldSelector=spec.nodeName%3Dn1`)).json), ["c"]);
  const unknown = await request("GET", `${PODS}?fieldSelector=spec.odd%3D1`);
  assert.equal(unknown.json.message, "field label not supported: spec.odd");
  const removed = await request("DELETE", `${PODS}?labelSelector=first%3Dtrue`);
  assert.deepEqual(names(removed.json), ["a", "b"]);
  assert.equal((await request("GET", PODS)).json.items?.length, 3);
});

test("a watch goes on from a version, sees objects enter and leave its selection, and knows what is too old", async (t) => {
  const { request, watch } = await api(t);
  await request("POST", PODS, testPod("a", {}, { in: "yes" }));
  const { resourceVersion } = (await request("GET", PODS)).json.metadata;
  await request("PATCH", `${PODS}/a`, { metadata: { labels: { in: "no" } } }, MERGE);
  await request("PATCH", `${PODS}/a`, { metadata: { labels: { in: "yes" } } }, MERGE);
  await request("PATCH", `${PODS}/a`, { metadata: { labels: { more: "1" } } }, MERGE);
  await request("DELETE", `${PODS}/a`);
  const seen = await lines(watch(`${PODS}?watch=1&resourceVersion=${resourceVersion}&labelSelector=in%3Dyes`), 4);
  assert.deepEqual(
    seen.map((line) => line.type),
    ["DELETED", "ADDED", "MODIFIED", "DELETED"],
  );
  const versions = seen.map((line) => Number(line.object.metadata.resourceVersion));
  assert.deepEqual(
    versions,
    versions.toSorted((a, b) => a - b),
  );
  assert.ok((versions[0] ?? 0) > Number(resourceVersion));
});

test("sendInitialEvents ends the state with a marked bookmark; a watch ends after its seconds with another", async (t) => {
  const { request, watch } = await api(t);
  await request("POST", PODS, testPod("a"));
  const query =
    "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1";
  const [added, mark, last] = await lines(watch(`${PODS}?${query}`), 3);
  assert.equal(added?.object.metadata.name, "a");
  assert.deepEqual(mark?.object.metadata.annotations, { "k8s.io/initial-events-end": "true" });
  assert.deepEqual([last?.type, last?.object.metadata.annotations], ["BOOKMARK", undefined]);
  const refused = await request("GET", `${PODS}?watch=1&sendInitialEvents=true`);
  assert.equal(refused.status, 422);
});

test("two appliers share fields, and a third change is a conflict until forced", async (t) => {
  const { request } = await api(t);
  const map = "/api/v1/namespaces/default/configmaps/m";
  const apply = (manager: string, data?: object, force = false): ReturnType<TestApi["request"]> =>
    request(
      "PATCH",
      `${map}?fieldManager=${manager}${force ? "&force=true" : ""}`,
      { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "m" }, data },
      APPLY,
    );
  assert.equal((await apply("one", { a: "1", b: "1" })).status, 201);
  assert.equal((await apply("two", { a: "1", c: "1" })).status, 200);
  const conflict = await apply("two", { a: "2", c: "1" });
  assert.equal(conflict.status, 409);
  assert.equal(conflict.json.message, 'Apply failed with 1 conflict: conflict with "one": .data.a');
  assert.deepEqual((await apply("two", { a: "2", c: "1" }, true)).json["data"], { a: "2", b: "1", c: "1" });
  const dropped = await apply("one", { b: "1" });
  assert.deepEqual(dropped.json["data"], { a: "2", b: "1", c: "1" }, "what another has stays");
  assert.deepEqual((await apply("two")).json["data"], { b: "1" }, "what nobody names any more goes");
  const managers = (await request("GET", map)).json.metadata.managedFields ?? [];
  assert.deepEqual(
    managers.map(({ manager, operation }) => [manager, operation]),
    [["one", "Apply"]],
  );
});

test("apply merges containers by name, and an update takes fields over", async (t) => {
  const { request } = await api(t);
  const pod = (image: string): object => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "p" },
    spec: { containers: [{ name: "c", image }] },
  });
  await request("PATCH", `${PODS}/p?fieldManager=one`, pod("a:1"), APPLY);
  await request(
    "PATCH",
    `${PODS}/p?fieldManager=hand`,
    { spec: { containers: [{ name: "c", image: "a:2" }] } },
    { "Content-Type": "application/strategic-merge-patch+json" },
  );
  const refused = await request("PATCH", `${PODS}/p?fieldManager=one`, pod("a:3"), APPLY);
  assert.equal(
    refused.json.message,
    'Apply failed with 1 conflict: conflict with "hand" using v1: .spec.containers[name="c"].image',
  );
  assert.equal((await request("PATCH", `${PODS}/p?fieldManager=one&force=true`, pod("a:3"), APPLY)).status, 200);
});

test("a write that changes nothing writes nothing", async (t) => {
  const { request } = await api(t);
  const made = (await request("POST", PODS, testPod("p", {}, { a: "b" }))).json;
  const same = await request("PATCH", `${PODS}/p`, { metadata: { labels: { a: "b" } } }, MERGE);
  assert.equal(same.json.metadata.resourceVersion, made.metadata.resourceVersion);
});

test("a patch or an apply with an unknown field is refused, each in its own words", async (t) => {
  const { request } = await api(t);
  await request("POST", PODS, testPod("p"));
  const patch = { spec: { volumes: [{ name: "v", odd: 1 }] } };
  const strategic = { "Content-Type": "application/strategic-merge-patch+json" };
  const strict = await request("PATCH", `${PODS}/p?fieldValidation=Strict`, patch, strategic);
  assert.equal(strict.status, 422);
  assert.equal(
    strict.json.message,
    ' "" is invalid: patch: Invalid value: "map[spec:map[volumes:[map[name:v odd:1]]]]": strict decoding error: unknown field "spec.volumes[0].odd"',
  );
  const warned = await request("PATCH", `${PODS}/p`, { metadata: { odd: 1 } }, MERGE);
  assert.equal(warned.headers.get("warning"), '299 - "unknown field \\"metadata.odd\\""');
  const applied = await request("PATCH", `${PODS}/p?fieldManager=x&force=true`, { ...testPod("p"), ...patch }, APPLY);
  assert.equal(applied.status, 500);
  assert.equal(
    applied.json.message,
    'failed to create typed patch object (/p; /v1, Kind=Pod): .spec.volumes[name="v"].odd: field not declared in schema',
  );
});

test("a patch that cannot be read, or names another object, is refused", async (t) => {
  const { request } = await api(t);
  await request("POST", PODS, testPod("p"));
  const said = async (body: unknown, type: string): Promise<unknown[]> => {
    const { status, json } = await request("PATCH", `${PODS}/p`, body, { "Content-Type": `application/${type}` });
    return [status, json.message];
  };
  const key = "looking for beginning of object key string";
  assert.deepEqual(await said("{bad", "merge-patch+json"), [400, `error decoding patch: invalid character 'b' ${key}`]);
  assert.deepEqual(await said("{bad", "strategic-merge-patch+json"), [400, `invalid character 'b' ${key}`]);
  const rename = { metadata: { name: "q" } };
  const another = "the name of the object (q) does not match the name on the URL (p)";
  assert.deepEqual(await said(rename, "merge-patch+json"), [400, another]);
  assert.deepEqual(await said({ spec: { containers: [{ image: "z" }] } }, "strategic-merge-patch+json"), [
    500,
    "map: map[image:z] does not contain declared merge key: name",
  ]);
  const other = await request("PUT", `${PODS}/p`, testPod("q"));
  assert.equal(other.json.message, "the name of the object (q) does not match the name on the URL (p)");
  const odd = await request("DELETE", `${PODS}/p`, { propagationPolicy: "Odd" });
  assert.equal(
    odd.json.message,
    'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "Odd": supported values: "Foreground", "Background", "Orphan", "nil"',
  );
  const selector = await request("GET", `${PODS}?labelSelector=a%20in%20b`);
  assert.equal(selector.json.message, "unable to parse requirement: found 'b' expected: '('");
});

test("the first namespaces stay", async (t) => {
  const { request } = await api(t);
  const refused = await request("DELETE", "/api/v1/namespaces/default");
  assert.equal(refused.json.message, 'namespaces "default" is forbidden: this namespace may not be deleted');
});

test("a member given twice is told, or refused", async (t) => {
  const { request } = await api(t);
  const text =
    '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m","labels":{"a":"1","a":"2"}},"data":{"k":"x"},"data":{"k":"y"}}';
  const maps = "/api/v1/namespaces/default/configmaps";
  const strict = await request("POST", `${maps}?fieldValidation=Strict`, text);
  assert.equal(
    strict.json.message,
    'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: duplicate field "metadata.labels.a", duplicate field "data"',
  );
  const warned = await request("POST", maps, text);
  assert.equal(warned.status, 201);
  assert.match(warned.headers.get("warning") ?? "", /duplicate field \\"data\\"/);
});

test("a dry run says what would be, and leaves no trace", async (t) => {
  const { request } = await api(t);
  assert.equal((await request("POST", `${PODS}?dryRun=All`, testPod("p"))).status, 201);
  assert.equal((await request("GET", `${PODS}/p`)).status, 404);
  await request("POST", PODS, testPod("p"));
  await request("DELETE", `${PODS}/p?dryRun=All`);
  assert.equal((await request("GET", `${PODS}/p`)).status, 200);
});

test("a namespace takes what is in it along", async (t) => {
  const { request, watch } = await api(t);
  await request("POST", "/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name: "team" } });
  await request("POST", "/api/v1/namespaces/team/pods", testPod("p", { nodeName: "n1" }));
  const changes = watch("/api/v1/namespaces?watch=1&fieldSelector=metadata.name%3Dteam");
  assert.equal((await changes.next()).value?.type, "ADDED");
  const marked = await request("DELETE", "/api/v1/namespaces/team");
  assert.deepEqual(marked.json["status"], { phase: "Terminating" });
  const late = await request("POST", "/api/v1/namespaces/team/pods", testPod("late"));
  assert.equal(late.json.reason, "Forbidden");
  assert.match(
    late.json.message ?? "",
    /unable to create new content in namespace team because it is being terminated/,
  );
  assert.equal((await request("DELETE", "/api/v1/namespaces/team/pods/p", { gracePeriodSeconds: 0 })).status, 200);
  for await (const line of changes) if (line.type === "DELETED") break;
  assert.equal((await request("GET", "/api/v1/namespaces/team")).status, 404);
});

test("what a deleted object alone owned goes after it, and old events are forgotten", async (t) => {
  const { request, watch, server, dir } = await api(t);
  const owner = (await request("POST", PODS, testPod("owner"))).json.metadata;
  const reference = { apiVersion: "v1", kind: "Pod", name: "owner", uid: owner.uid };
  const maps = "/api/v1/namespaces/default/configmaps";
  const map = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "owned", ownerReferences: [reference] } };
  await request("POST", maps, map);
  const old = {
    kind: "Event",
    apiVersion: "v1",
    metadata: { name: "old" },
    involvedObject: { namespace: "default" },
    lastTimestamp: "2020-01-01T00:00:00Z",
  };
  await request("POST", "/api/v1/namespaces/default/events", old);
  const changes = watch(`${maps}?watch=1`);
  assert.equal((await changes.next()).value?.object.metadata.name, "owned");
  await request("DELETE", `${PODS}/owner`);
  for await (const line of changes) if (line.type === "DELETED") break;
  await server[Symbol.asyncDispose]();
  await using again = await startTestApi(dir);
  assert.equal((await again.request("GET", "/api/v1/namespaces/default/events/old")).status, 404);
});

test("a namespace that is stuck ends when its finalizers are taken off", async (t) => {
  const { request } = await api(t);
  const spaces = "/api/v1/namespaces";
  const stuck = {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: "stuck" },
    spec: { finalizers: ["x.test/y"] },
  };
  await request("POST", spaces, stuck);
  await request("DELETE", `${spaces}/stuck`);
  const done = await request("PUT", `${spaces}/stuck/finalize`, { ...stuck, spec: {} });
  assert.equal(done.status, 200);
  assert.equal((await request("GET", `${spaces}/stuck`)).status, 404);
});

test("binding a Pod puts it on its node, once", async (t) => {
  const { request } = await api(t);
  await request("POST", PODS, testPod("p"));
  const binding = { apiVersion: "v1", kind: "Binding", metadata: { name: "p" }, target: { kind: "Node", name: "n1" } };
  assert.equal((await request("POST", `${PODS}/p/binding`, binding)).status, 201);
  const bound = (await request("GET", `${PODS}/p`)).json;
  assert.equal((bound["spec"] as { nodeName: string }).nodeName, "n1");
  assert.match(
    (await request("POST", `${PODS}/p/binding`, binding)).json.message ?? "",
    /already assigned to node "n1"/,
  );
});

test("an eviction is a deletion by another name, in its group", async (t) => {
  const { request } = await api(t);
  const evict = (body: object, query = ""): ReturnType<TestApi["request"]> =>
    request("POST", `${PODS}/p/eviction${query}`, { apiVersion: "policy/v1", kind: "Eviction", ...body });
  const metadata = { name: "p" };
  assert.equal((await evict({ metadata })).json.message, 'pods "p" not found');
  const { uid } = (await request("POST", PODS, testPod("p", { nodeName: "n1" }))).json.metadata;
  const other = await evict({ metadata: { name: "q" } });
  assert.equal(other.json.message, "name in URL does not match name in Eviction object");
  assert.equal((await evict({ metadata, deleteOptions: { preconditions: { uid: "other" } } })).status, 409);
  assert.equal((await evict({ metadata, deleteOptions: { dryRun: ["All"] } })).status, 201);
  assert.equal((await evict({ metadata }, "?dryRun=All")).status, 201);
  assert.equal((await request("GET", `${PODS}/p`)).json.metadata.deletionTimestamp, undefined);
  const options = { gracePeriodSeconds: 9, preconditions: { uid } };
  assert.equal((await evict({ metadata, deleteOptions: options })).status, 201);
  assert.equal((await request("GET", `${PODS}/p`)).json.metadata.deletionGracePeriodSeconds, 9);
  const group = (await request("GET", "/apis/policy/v1")).json;
  assert.deepEqual([group["groupVersion"], group["resources"]], ["policy/v1", []]);
});

test("ephemeral containers are added through their own path, and nothing else", async (t) => {
  const { request } = await api(t);
  await request("POST", PODS, testPod("p"));
  const patch = {
    spec: { ephemeralContainers: [{ name: "debug", image: "busybox:1", stdin: true }], nodeName: "sneaky" },
  };
  const strategic = { "Content-Type": "application/strategic-merge-patch+json" };
  const done = await request("PATCH", `${PODS}/p/ephemeralcontainers`, patch, strategic);
  const spec = done.json["spec"] as {
    nodeName?: string;
    ephemeralContainers: { name: string; imagePullPolicy: string }[];
  };
  assert.deepEqual([spec.nodeName, spec.ephemeralContainers[0]?.imagePullPolicy], [undefined, "IfNotPresent"]);
  assert.equal(done.json.metadata.generation, 2);
  const bad = { spec: { ephemeralContainers: [{ name: "two", image: "b:1", ports: [{ containerPort: 1 }] }] } };
  const refused = await request("PATCH", `${PODS}/p/ephemeralcontainers`, bad, strategic);
  assert.match(
    refused.json.message ?? "",
    /ephemeralContainers\[\d\].ports: Forbidden: cannot be set for an Ephemeral Container/,
  );
  const gone = await request("PUT", `${PODS}/p/ephemeralcontainers`, testPod("p"));
  assert.match(gone.json.message ?? "", /existing ephemeral containers .* may not be removed/);
});

test("events are the same in both groups", async (t) => {
  const { request } = await api(t);
  const event = {
    apiVersion: "events.k8s.io/v1",
    kind: "Event",
    metadata: { name: "e" },
    regarding: { kind: "Pod", namespace: "default", name: "p" },
    reason: "Pulled",
    note: "words",
    type: "Normal",
    action: "Pull",
    eventTime: "2026-01-01T00:00:00.000000Z",
    reportingController: "orlop/kubelet",
    reportingInstance: "n1",
  };
  assert.equal((await request("POST", "/apis/events.k8s.io/v1/namespaces/default/events", event)).status, 201);
  const core = (await request("GET", "/api/v1/namespaces/default/events/e")).json;
  assert.deepEqual([core["message"], (core["involvedObject"] as { name: string }).name], ["words", "p"]);
  const found = await request(
    "GET",
    "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dp,reason%3DPulled",
  );
  assert.deepEqual(names(found.json), ["e"]);
  const v1 = (await request("GET", "/apis/events.k8s.io/v1/namespaces/default/events/e")).json;
  assert.deepEqual([v1["note"], v1["message"], v1["reportingController"]], ["words", undefined, "orlop/kubelet"]);
});

const user = (name: string, ...groups: string[]): User => ({ name, groups });

test("a node sees and does what its own Pods need, and no more", async (t) => {
  const bearers = new Map([
    ["n1", user("system:node:n1", "system:nodes")],
    ["n2", user("system:node:n2", "system:nodes")],
  ]);
  const admin = await api(t, { bearers });
  const { request } = admin;
  const secrets = "/api/v1/namespaces/default/secrets";
  for (const name of ["named", "other"])
    await request("POST", secrets, { apiVersion: "v1", kind: "Secret", metadata: { name }, stringData: { a: "b" } });
  await request("POST", PODS, testPod("p", { nodeName: "n1", imagePullSecrets: [{ name: "named" }] }));
  const [n1, n2] = [admin.as("n1"), admin.as("n2")];
  assert.equal((await n1.request("GET", `${secrets}/named`)).status, 200);
  const denied = await n1.request("GET", `${secrets}/other`);
  assert.equal(
    denied.json.message,
    `secrets "other" is forbidden: User "system:node:n1" cannot get resource "secrets" in API group "" in the namespace "default": no relationship found between node 'n1' and this object`,
  );
  assert.equal((await n2.request("GET", `${secrets}/named`)).status, 403);
  assert.equal((await n1.request("GET", secrets)).status, 403);
  const status = { status: { phase: "Running" } };
  assert.equal((await n1.request("PATCH", `${PODS}/p/status`, status, MERGE)).status, 200);
  assert.equal((await n2.request("PATCH", `${PODS}/p/status`, status, MERGE)).status, 403);
  assert.equal((await n2.request("DELETE", `${PODS}/p`)).status, 403);
  assert.equal((await n1.request("GET", `${PODS}/p`)).status, 200);
  assert.equal((await n2.request("GET", `${PODS}/p`)).status, 403);
  assert.equal((await n2.request("GET", "/api/v1/pods")).status, 403, "all Pods");
  assert.equal((await n1.request("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1")).json.items?.length, 1);
  assert.equal((await n2.request("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1")).status, 403);
  assert.match((await n1.request("POST", PODS, testPod("q"))).json.message ?? "", /can only create mirror pods/);
  const stranger = { apiVersion: "v1", kind: "Node", metadata: { name: "n3" } };
  assert.match(
    (await n1.request("POST", "/api/v1/nodes", stranger)).json.message ?? "",
    /not allowed to modify node "n3"/,
  );
  assert.equal(
    (await n1.request("POST", "/api/v1/nodes", { apiVersion: "v1", kind: "Node", metadata: { name: "n1" } })).status,
    201,
  );
  assert.equal(
    (await n2.request("PATCH", "/api/v1/nodes/n1", { metadata: { labels: { a: "b" } } }, MERGE)).status,
    403,
  );
  const sa = "/api/v1/namespaces/default/serviceaccounts/default/token";
  const token = (spec: object): object => ({ apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec });
  assert.equal((await n1.request("POST", sa, token({}))).status, 403, "a token of no Pod");
  const bound = { boundObjectRef: { kind: "Pod", apiVersion: "v1", name: "p" } };
  assert.equal((await n1.request("POST", sa, token(bound))).status, 201);
  assert.equal((await n2.request("POST", sa, token(bound))).status, 403);
});

test("an account may ask about itself; a stranger learns health and version only", async (t) => {
  const admin = await api(t);
  const sa = "/api/v1/namespaces/default/serviceaccounts/default/token";
  const made = await admin.request("POST", sa, {
    apiVersion: "authentication.k8s.io/v1",
    kind: "TokenRequest",
    spec: {},
  });
  const account = admin.as((made.json["status"] as { token: string }).token);
  assert.match(
    (await account.request("GET", PODS)).json.message ?? "",
    /User "system:serviceaccount:default:default" cannot list resource "pods"/,
  );
  const ask = {
    apiVersion: "authorization.k8s.io/v1",
    kind: "SelfSubjectAccessReview",
    spec: { resourceAttributes: { verb: "get", resource: "pods" } },
  };
  const answer = await account.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", ask);
  assert.equal((answer.json["status"] as { allowed: boolean }).allowed, false);
  for (const path of ["/api", "/apis", "/metrics", PODS, "/openapi/v2"])
    assert.equal((await fetch(admin.server.url + path)).status, 403, path);
  for (const path of ["/healthz", "/livez", "/readyz", "/version"])
    assert.equal((await fetch(admin.server.url + path)).status, 200, path);
});

test("with --emulated-version=1.31 image volumes are off, and with the gate on they take no subPath", async (t) => {
  const off = await api(t, { emulatedVersion: "1.31" });
  const plain = await off.request("POST", PODS, testPod("p"));
  assert.equal((plain.json["spec"] as { volumes?: unknown }).volumes, undefined);
  const on = await api(t, { emulatedVersion: "1.31", featureGates: "ImageVolume=true" });
  const mount = [{ name: "c", image: "b:1", volumeMounts: [{ name: "v", mountPath: "/v", subPath: "dir" }] }];
  const refused = await on.request("POST", PODS, testPod("p", { containers: mount }));
  assert.equal(
    refused.json.message,
    'Pod "p" is invalid: spec.containers[0].volumeMounts[0].subPath: Invalid value: "dir": not allowed in image volume sources',
  );
  assert.equal((await on.request("POST", PODS, testPod("q"))).status, 201);
});

test("the gate turned off drops image volumes and their mounts, at the newest version too", async (t) => {
  const { request } = await api(t, { featureGates: "ImageVolume=false" });
  const created = await request("POST", PODS, testPod("p"));
  assert.equal(created.status, 201);
  const { spec } = created.json as unknown as { spec: { volumes?: unknown; containers: { volumeMounts?: unknown }[] } };
  assert.equal(spec.volumes, undefined);
  assert.equal(spec.containers[0]?.volumeMounts, undefined);
});

test("bad flags are one line each", async () => {
  for (const [options, message] of [
    [{ emulatedVersion: "1.20" }, /^--emulated-version=1.20: expected a version from 1.31 to 1.36$/],
    [{ featureGates: "ImageVolume" }, /expected NAME=true or NAME=false/],
    [{ admissionPlugins: "Magic" }, /this server has/],
    [{ host: "0.0.0.0" }, /plain HTTP on loopback only/],
  ] as const)
    await assert.rejects(startTestApi(join(tmpdir(), "orlop-api-none"), options), { reason: "INVALID_FLAG", message });
});

test("YAML comes in and goes out, and large answers are compressed for who takes it", async (t) => {
  const { request, server } = await api(t);
  const yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: plain}\ndata:\n  a: |\n    two\n    lines\n";
  assert.equal(
    (await request("POST", "/api/v1/namespaces/default/configmaps", yaml, { "Content-Type": "application/yaml" }))
      .status,
    201,
  );
  const shown = await request("GET", "/api/v1/namespaces/default/configmaps/plain", undefined, {
    Accept: "application/yaml",
  });
  assert.match(shown.text, /^kind: ConfigMap\n[\s\S]*data:\n {2}a: \|\n {4}two\n {4}lines\n/);
  const big = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "big" }, data: { a: "x".repeat(300_000) } };
  await request("POST", "/api/v1/namespaces/default/configmaps", big);
  const answer = await fetch(`${server.url}/api/v1/namespaces/default/configmaps/big`, {
    headers: { Authorization: "Bearer admin-token", "Accept-Encoding": "gzip" },
  });
  assert.equal(answer.headers.get("content-encoding"), "gzip");
  assert.equal(((await answer.json()) as { data: { a: string } }).data.a.length, 300_000);
});

test("objects by metadata alone, and lists of them", async (t) => {
  const { request } = await api(t);
  await request("POST", PODS, testPod("p", {}, { a: "b" }));
  const one = await request("GET", `${PODS}/p`, undefined, {
    Accept: "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
  });
  assert.deepEqual(
    [one.json.kind, one.json.metadata.labels, one.json["spec"]],
    ["PartialObjectMetadata", { a: "b" }, undefined],
  );
  const list = await request("GET", PODS, undefined, {
    Accept: "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
  });
  assert.deepEqual([list.json.kind, names(list.json)], ["PartialObjectMetadataList", ["p"]]);
  const none = await request("GET", PODS, undefined, { Accept: "text/html" });
  assert.equal(none.status, 406);
});

test("every verb that discovery promises has a path that knows it", async (t) => {
  const { request } = await api(t);
  const methods: Record<string, string> = {
    create: "POST",
    update: "PUT",
    patch: "PATCH",
    delete: "DELETE",
    get: "GET",
    list: "GET",
  };
  const groups = (await request("GET", "/apis")).json["groups"] as { preferredVersion: { groupVersion: string } }[];
  let asked = 0;
  for (const root of ["/api/v1", ...groups.map((group) => `/apis/${group.preferredVersion.groupVersion}`)]) {
    const { resources } = (await request("GET", root)).json as unknown as {
      resources: { name: string; namespaced: boolean; verbs: string[] }[];
    };
    for (const { name, namespaced, verbs } of resources) {
      const [plural, part] = name.split("/");
      const base = `${root}${namespaced ? "/namespaces/default" : ""}/${plural}`;
      for (const verb of verbs) {
        const method = methods[verb];
        if (method === undefined) continue;
        const whole = part === undefined && (verb === "create" || verb === "list");
        const path = whole ? base : `${base}/none${part === undefined ? "" : `/${part}`}`;
        const answer = await request(method, path, method === "GET" ? undefined : {}, method === "PATCH" ? MERGE : {});
        assert.notEqual(answer.status, 405, `${method} ${path}`);
        assert.doesNotMatch(answer.text, /could not find the requested resource|page not found/, `${method} ${path}`);
        asked++;
      }
    }
  }
  assert.ok(asked > 60);
});

test("health is told at length, and JSON on many lines, to those who ask or look for themselves", async (t) => {
  const { request } = await api(t);
  assert.equal((await request("GET", "/readyz")).text, "ok");
  assert.equal((await request("GET", "/readyz?verbose")).text, "[+]ping ok\nreadyz check passed\n");
  const path = "/api/v1/namespaces/default";
  assert.match((await request("GET", path)).text, /^\{"kind":"Namespace",.*\}\n$/);
  assert.match((await request("GET", `${path}?pretty=true`)).text, /^\{\n {2}"kind": "Namespace",\n[^]*\n\}$/);
  const curl = { "User-Agent": "curl/8.0" };
  assert.match((await request("GET", `${path}x`, undefined, curl)).text, /^\{\n {2}"kind": "Status",\n/);
  assert.match((await request("GET", `${path}?pretty=false`, undefined, curl)).text, /^\{"kind":"Namespace",/);
});

test("an administrator may be somebody else for a request; nobody else may", async (t) => {
  const alice: User = { name: "alice", groups: [] };
  const opened = await api(t, { bearers: new Map([["alice-token", alice]]) });
  const as = (user: string, more: Record<string, string> = {}): Promise<Answer> =>
    opened.request("GET", PODS, undefined, { "Impersonate-User": user, ...more });
  const bob = await as("bob");
  assert.deepEqual(
    [bob.status, bob.json.message],
    [403, 'pods is forbidden: User "bob" cannot list resource "pods" in API group "" in the namespace "default"'],
  );
  assert.equal((await as("bob", { "Impersonate-Group": "system:masters" })).status, 200);
  const groupless = await opened.request("GET", PODS, undefined, { "Impersonate-Group": "system:masters" });
  assert.equal(groupless.status, 500);
  const review = { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" };
  const asked = await opened.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review, {
    "Impersonate-User": "system:serviceaccount:default:robot",
    "Impersonate-Extra-Reason%2fwhy": "test",
  });
  assert.deepEqual((asked.json["status"] as { userInfo: object }).userInfo, {
    username: "system:serviceaccount:default:robot",
    groups: ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"],
    extra: { "reason/why": ["test"] },
  });
  const refused = await opened.as("alice-token").request("GET", PODS, undefined, { "Impersonate-User": "admin" });
  assert.deepEqual(
    [refused.status, refused.json.message],
    [
      403,
      'users "admin" is forbidden: User "alice" cannot impersonate resource "users" in API group "" at the cluster scope',
    ],
  );
});

test("a question that asks for nothing is refused, and what one may do is told", async (t) => {
  const { request } = await api(t);
  const ask = (kind: string, spec: object, headers: Record<string, string> = {}): Promise<Answer> =>
    request(
      "POST",
      `/apis/authorization.k8s.io/v1/${kind.toLowerCase()}s`,
      { apiVersion: "authorization.k8s.io/v1", kind, spec },
      headers,
    );
  const one = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
  assert.equal(
    (await ask("SelfSubjectAccessReview", {})).json.message,
    `.authorization.k8s.io "" is invalid: spec.resourceAttributes: Invalid value: null: ${one}`,
  );
  assert.equal(
    (await ask("SubjectAccessReview", {})).json.message,
    `.authorization.k8s.io "" is invalid: [spec.resourceAttributes: Invalid value: null: ${one}, spec.user: Invalid value: "": at least one of user or group must be specified]`,
  );
  assert.equal((await ask("SelfSubjectRulesReview", {})).json.message, "no namespace on request");
  const node = { "Impersonate-User": "system:node:n", "Impersonate-Group": "system:nodes" };
  const rules = (await ask("SelfSubjectRulesReview", { namespace: "default" }, node)).json["status"];
  assert.deepEqual(
    (rules as { incomplete: boolean; evaluationError: string }).evaluationError,
    "node authorizer does not support user rule resolution",
  );
});
