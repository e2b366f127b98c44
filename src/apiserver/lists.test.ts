// Lists in pages, lists of the past, and watches that lie behind.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import type { ApiServerOptions } from "#apiserver";
import { startTestApi, testPod, type Answer, type Json, type TestApi, type WatchLine } from "../../test/support/api.ts";

const MAPS = "/api/v1/namespaces/default/configmaps";
const NOT_OLDER = "resourceVersionMatch=NotOlderThan";
const MERGE = { "Content-Type": "application/merge-patch+json" };

async function api(t: TestContext, options: Partial<ApiServerOptions> = {}): Promise<TestApi> {
  const dir = await mkdtemp(join(tmpdir(), "orlop-lists-"));
  const opened = await startTestApi(dir, options);
  t.after(async () => {
    await opened[Symbol.asyncDispose]();
    await rm(dir, { recursive: true, force: true });
  });
  return opened;
}

const map = (name: string, more: object = {}): object => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, ...more },
});
const names = (list: Json): string[] => (list.items ?? []).map((item) => item.metadata.name);
const versionOf = (list: Json): string => list.metadata.resourceVersion;

async function make(at: TestApi, ...all: string[]): Promise<void> {
  for (const name of all) await at.request("POST", MAPS, map(name));
}

test("the pages of a list show one state, whatever is written between them", async (t) => {
  const at = await api(t);
  await make(at, "a", "b", "c", "d", "e");
  const first = (await at.request("GET", `${MAPS}?limit=2`)).json;
  await at.request("DELETE", `${MAPS}/d`);
  await at.request("POST", MAPS, map("bb"));
  await at.request("PATCH", `${MAPS}/e`, { data: { new: "yes" } }, MERGE);
  await at.request("DELETE", `${MAPS}/c`);
  await at.request("POST", MAPS, map("c", { labels: { second: "life" } }));
  const second = (await at.request("GET", `${MAPS}?limit=2&continue=${first.metadata.continue}`)).json;
  assert.deepEqual(
    [names(first), names(second)],
    [
      ["a", "b"],
      ["c", "d"],
    ],
  );
  assert.deepEqual([first.metadata.remainingItemCount, second.metadata.remainingItemCount], [3, 1]);
  assert.equal(second.items?.[0]?.metadata.labels, undefined);
  const third = (await at.request("GET", `${MAPS}?limit=2&continue=${second.metadata.continue}`)).json;
  assert.deepEqual([names(third), third.items?.[0]?.["data"]], [["e"], undefined]);
  assert.deepEqual([third.metadata.continue, third.metadata.remainingItemCount], [undefined, undefined]);
  assert.deepEqual(new Set([first, second, third].map(versionOf)).size, 1);
  const exact = (await at.request("GET", `${MAPS}?resourceVersion=${versionOf(first)}&resourceVersionMatch=Exact`))
    .json;
  assert.deepEqual([names(exact), versionOf(exact)], [["a", "b", "c", "d", "e"], versionOf(first)]);
  const legacy = (await at.request("GET", `${MAPS}?resourceVersion=${versionOf(first)}&limit=3`)).json;
  assert.deepEqual([names(legacy), versionOf(legacy)], [["a", "b", "c"], versionOf(first)]);
  const newest = await at.request(
    "GET",
    `${MAPS}?resourceVersion=${versionOf(first)}&resourceVersionMatch=NotOlderThan`,
  );
  assert.deepEqual(names(newest.json), ["a", "b", "bb", "c", "e"]);
});

test("pages over all namespaces come in the order of storage, and a selection tells no count", async (t) => {
  const at = await api(t);
  for (const name of ["team", "team-b"]) {
    await at.request("POST", "/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name } });
    await at.request("POST", `/api/v1/namespaces/${name}/configmaps`, map("m", { labels: { in: name } }));
  }
  const list = async (query: string): Promise<Json> => (await at.request("GET", `/api/v1/configmaps?${query}`)).json;
  const first = await list("limit=1");
  const second = await list(`limit=1&continue=${first.metadata.continue}`);
  assert.deepEqual(
    [first, second].map((one) => one.items?.[0]?.metadata.namespace),
    ["team-b", "team"],
  );
  const chosen = await list("limit=1&labelSelector=in%3Dteam-b");
  assert.equal(chosen.metadata.remainingItemCount, undefined);
  const rest = await list(`limit=1&labelSelector=in%3Dteam-b&continue=${chosen.metadata.continue}`);
  assert.deepEqual([chosen.items?.length, rest.items?.length, rest.metadata.continue], [1, 0, undefined]);
  assert.equal((await list("limit=1&resourceVersion=0")).items?.length, 2, "what may be old comes whole");
});

test("a list whose past is forgotten says so, and how to go on from the present", async (t) => {
  const at = await api(t, { history: { time: 60_000, bytes: 4000 } });
  await make(at, "a", "b", "c");
  const first = (await at.request("GET", `${MAPS}?limit=1`)).json;
  for (let i = 0; i < 30; i++) await at.request("PATCH", `${MAPS}/b`, { data: { i: String(i) } }, MERGE);
  const query = `${MAPS}?resourceVersion=${versionOf(first)}`;
  const late = await at.request("GET", `${MAPS}?limit=1&continue=${first.metadata.continue}`);
  assert.deepEqual(
    [late.status, late.json.reason, late.json.message],
    [
      410,
      "Expired",
      "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    ],
  );
  const rest = (await at.request("GET", `${MAPS}?continue=${late.json.metadata.continue}`)).json;
  assert.deepEqual([names(rest), rest.items?.[0]?.["data"]], [["b", "c"], { i: "29" }]);
  const exact = await at.request("GET", `${query}&resourceVersionMatch=Exact`);
  assert.deepEqual([exact.status, exact.json.message], [410, "The resourceVersion for the provided list is too old."]);
  assert.equal((await at.request("GET", query)).status, 200, "not older is no matter of the past");
  for await (const { type, object } of at.watch(`${query}&watch=1`)) {
    assert.deepEqual([type, object.reason], ["ERROR", "Expired"]);
    assert.match(object.message ?? "", new RegExp(`^too old resource version: ${versionOf(first)} \\(\\d+\\)$`));
    break;
  }
});

test("the past outlives the server, and goes on", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "orlop-lists-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  let before: Json;
  {
    await using at = await startTestApi(dir);
    await make(at, "a", "b");
    before = (await at.request("GET", `${MAPS}?limit=1`)).json;
    await at.request("DELETE", `${MAPS}/b`);
  }
  await using at = await startTestApi(dir);
  await at.request("DELETE", `${MAPS}/a`);
  const exact = await at.request("GET", `${MAPS}?resourceVersion=${versionOf(before)}&resourceVersionMatch=Exact`);
  assert.deepEqual(names(exact.json), ["a", "b"]);
  const seen: string[] = [];
  for await (const { type, object } of at.watch(`${MAPS}?watch=1&resourceVersion=${versionOf(before)}`))
    if (seen.push(`${type} ${object.metadata.name}`) === 2) break;
  assert.deepEqual(seen, ["DELETED b", "DELETED a"]);
});

test("what a list may not be asked is refused in upstream's words", async (t) => {
  const at = await api(t);
  const said = async (query: string): Promise<unknown[]> => {
    const { status, text } = await at.request("GET", `${MAPS}?${query}`);
    return [status, (JSON.parse(text) as Json).message];
  };
  const invalid = (why: string): unknown[] => [422, `ListOptions.meta.k8s.io "" is invalid: ${why}`];
  const match = "resourceVersionMatch";
  const forbidden = (why: string): unknown[] => invalid(`${match}: Forbidden: ${why}`);
  const alone = `${match} is forbidden unless resourceVersion is provided`;
  assert.deepEqual(await said(`${match}=Exact`), forbidden(alone));
  assert.deepEqual(
    await said(`${match}=Exact&continue=x`),
    invalid(`[${match}: Forbidden: ${alone}, ${match}: Forbidden: ${match} is forbidden when continue is provided]`),
  );
  assert.deepEqual(
    await said(`${match}=Odd&resourceVersion=1`),
    invalid(`${match}: Unsupported value: "Odd": supported values: "Exact", "NotOlderThan", ""`),
  );
  assert.deepEqual(
    await said(`${match}=Exact&resourceVersion=0`),
    forbidden(`${match} "exact" is forbidden for resourceVersion "0"`),
  );
  assert.deepEqual(
    await said("sendInitialEvents=true"),
    invalid("sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"),
  );
  assert.deepEqual(
    await said("watch=1&sendInitialEvents=true"),
    forbidden(`sendInitialEvents requires setting ${match} to NotOlderThan`),
  );
  assert.deepEqual(
    await said(`watch=1&resourceVersion=1&${match}=Exact`),
    invalid(
      `[${match}: Forbidden: ${match} is forbidden for watch unless sendInitialEvents is provided, ${match}: Unsupported value: "Exact": supported values: "NotOlderThan"]`,
    ),
  );
  const syntax = `resourceVersion: Invalid value: "x": strconv.ParseUint: parsing "x": invalid syntax`;
  assert.deepEqual(await said("resourceVersion=x"), [400, `invalid resource version: ${syntax}`]);
  assert.deepEqual(await said("limit=x"), [400, 'strconv.ParseInt: parsing "x": invalid syntax']);
  const token = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const bad = (why: string): unknown[] => [400, `invalid continue token: continue key is not valid: ${why}`];
  const v = "meta.k8s.io/v1";
  assert.deepEqual(await said("continue=a.b"), bad("illegal base64 data at input byte 1"));
  assert.deepEqual(
    await said(`continue=${token({ v: "v9" })}`),
    bad("server does not recognize this encoded version v9"),
  );
  assert.deepEqual(
    await said(`continue=${token({ v, start: "a" })}`),
    bad("incorrect encoded start resourceVersion (version meta.k8s.io/v1)"),
  );
  assert.deepEqual(
    await said(`continue=${token({ v, rv: 1 })}`),
    bad("encoded start key empty (version meta.k8s.io/v1)"),
  );
  assert.deepEqual(await said(`continue=${token({ v, rv: 1, start: "../a" })}`), bad("../a"));
  assert.deepEqual(await said(`continue=${token({ v, rv: 1, start: "a" })}&resourceVersion=2`), [
    400,
    "specifying resource version is not allowed when using continue",
  ]);
  const field = 'field label "spec.x" not supported for "ConfigMap"';
  assert.deepEqual(await said("fieldSelector=spec.x%3D1"), [400, field]);
  assert.deepEqual(await said("watch=1&fieldSelector=x"), [400, "invalid selector: 'x'; can't understand 'x'"]);
  assert.deepEqual(await said("labelSelector=a%20in%20(b"), [
    400,
    "unable to parse requirement: found '', expected: ',' or ')'",
  ]);
});

test("a version that has not come is waited for, and refused where it does not come", async (t) => {
  const at = await api(t);
  await make(at, "a");
  const next = Number(versionOf((await at.request("GET", MAPS)).json)) + 1;
  const soon = Promise.all(
    [`${MAPS}?resourceVersion=${next}`, `${MAPS}/a?resourceVersion=${next}`].map((path) => at.request("GET", path)),
  );
  const watched = at.watch(`${MAPS}?watch=1&resourceVersion=999999&sendInitialEvents=true&${NOT_OLDER}`).next();
  const never = Promise.all(
    [`${MAPS}?resourceVersion=999999`, `${MAPS}/a?resourceVersion=999999`].map((path) => at.request("GET", path)),
  );
  await make(at, "b");
  const [list, one] = await soon;
  assert.ok(Number(versionOf(list!.json)) >= next);
  assert.equal(one?.json.metadata.name, "a");
  for (const large of await never) {
    assert.deepEqual([large.status, large.json.reason, large.headers.get("retry-after")], [504, "Timeout", "1"]);
    assert.match(large.json.message ?? "", /^Timeout: Too large resource version: 999999, current: \d+$/);
    assert.deepEqual(large.json["details"], {
      causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }],
      retryAfterSeconds: 1,
    });
  }
  const line = (await watched).value as WatchLine;
  assert.deepEqual([line.type, line.object["code"], line.object.reason], ["ERROR", 504, "Timeout"]);
});

test("Pods are selected by the old name of their node too, and a bookmark is a Pod of nothing but a version", async (t) => {
  const at = await api(t);
  const all = "/api/v1/namespaces/default/pods";
  for (const nodeName of ["x", "y"]) await at.request("POST", all, testPod(`on-${nodeName}`, { nodeName }));
  const ask = async (field: string): Promise<string[]> =>
    names((await at.request("GET", `${all}?fieldSelector=${encodeURIComponent(field)}`)).json);
  assert.deepEqual(await ask("spec.host=x"), ["on-x"]);
  assert.deepEqual(await ask("status.podIPs=10.0.0.1"), []);
  for await (const { type, object } of at.watch(`${all}?watch=1&allowWatchBookmarks=true`)) {
    if (type !== "BOOKMARK") continue;
    const { resourceVersion } = object.metadata;
    const metadata = { resourceVersion, annotations: { "k8s.io/initial-events-end": "true" } };
    assert.deepEqual(object, { kind: "Pod", apiVersion: "v1", metadata, spec: { containers: null }, status: {} });
    break;
  }
});

test("a watcher that does not read holds nothing back, and misses nothing once it reads", async (t) => {
  const at = await api(t);
  await make(at, "m");
  const lines = at.watch(`${MAPS}?watch=1`);
  assert.equal((await lines.next()).value?.type, "ADDED");
  const WRITES = 40;
  const filler = "x".repeat(300_000);
  for (let i = 0; i < WRITES; i++) await at.request("PATCH", `${MAPS}/m`, { data: { i: String(i), filler } }, MERGE);
  const seen: string[] = [];
  for await (const { object } of lines) if (seen.push((object["data"] as { i: string }).i) === WRITES) break;
  assert.deepEqual(
    seen,
    Array.from({ length: WRITES }, (_, i) => String(i)),
  );
});

test("a watch from the start ends its first events with the marked bookmark, asked for or not", async (t) => {
  const at = await api(t);
  await make(at, "a");
  for (const query of ["", "&resourceVersion=0", "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"]) {
    const seen: unknown[] = [];
    for await (const { type, object } of at.watch(`${MAPS}?watch=1&allowWatchBookmarks=true${query}`))
      if (seen.push([type, object.metadata.annotations]) === 2) break;
    assert.deepEqual(seen, [
      ["ADDED", undefined],
      ["BOOKMARK", { "k8s.io/initial-events-end": "true" }],
    ]);
  }
  const wrong: Answer = await at.request("GET", `${MAPS}?watch=1&resourceVersion=x`);
  assert.equal(wrong.status, 500);
});

test("one object is watched by its name, at the older path of watches too", async (t) => {
  const at = await api(t);
  await make(at, "a", "b");
  for (const path of [`${MAPS}?watch=1&fieldSelector=metadata.name%3Db`, `${MAPS.replace("v1/", "v1/watch/")}/b`]) {
    const lines = at.watch(path);
    const first = (await lines.next()).value;
    for (const name of ["a", "b"]) await at.request("PATCH", `${MAPS}/${name}`, { data: { at: path } }, MERGE);
    const second = (await lines.next()).value;
    assert.deepEqual(
      [first, second].map((line) => `${line?.type} ${line?.object.metadata.name}`),
      ["ADDED b", "MODIFIED b"],
    );
    await lines.return(undefined);
  }
  const other = `${MAPS.replace("v1/", "v1/watch/")}/b?fieldSelector=metadata.name%3Dc`;
  const refused = await at.request("GET", other);
  assert.equal(refused.json.message, "fieldSelector metadata.name doesn't match requested name");
});

test("a deletion of many keeps to its selection, its limit and its preconditions, and answers what it found", async (t) => {
  const at = await api(t);
  await make(at, "a", "b", "c", "d");
  const dry = await at.request("DELETE", `${MAPS}?dryRun=All`);
  assert.deepEqual(names(dry.json), ["a", "b", "c", "d"]);
  const first = await at.request("DELETE", `${MAPS}?limit=1`);
  assert.deepEqual([names(first.json), first.json.metadata.remainingItemCount], [["a"], 3]);
  const guarded = await at.request("DELETE", MAPS, { preconditions: { uid: "other" } });
  assert.equal(guarded.status, 409);
  const one = await at.request("DELETE", `${MAPS}?fieldSelector=metadata.name%21%3Dc`);
  assert.deepEqual(names(one.json), ["b", "d"]);
  assert.deepEqual(names((await at.request("GET", MAPS)).json), ["c"]);
});

test("the form of an answer is the one the client likes best, and one it can have", async (t) => {
  const at = await api(t);
  await make(at, "a");
  const ask = async (path: string, accept: string, method = "GET"): Promise<unknown[]> => {
    const { status, text } = await at.request(method, path, method === "GET" ? undefined : map("b"), {
      Accept: accept,
    });
    const json = JSON.parse(text) as Json;
    return [status, status === 200 ? json.kind : json.message];
  };
  const as = (kind: string): string => `application/json;as=${kind};g=meta.k8s.io;v=v1`;
  const partial = as("PartialObjectMetadata");
  assert.deepEqual(await ask(`${MAPS}/a`, `application/json;q=0.5,${partial}`), [200, "PartialObjectMetadata"]);
  assert.deepEqual(await ask(MAPS, `*/*,${as("PartialObjectMetadataList")}`), [200, "PartialObjectMetadataList"]);
  assert.deepEqual(await ask(MAPS, `${partial},application/json`), [
    406,
    "you requested PartialObjectMetadata, but the requested object is a list (*core.ConfigMapList)",
  ]);
  assert.deepEqual(await ask(`${MAPS}/a`, as("PartialObjectMetadataList")), [
    406,
    "you requested PartialObjectMetadataList, but the requested object is not a list (*core.ConfigMap)",
  ]);
  assert.deepEqual(await ask(`${MAPS}?includeObject=All`, as("Table")), [
    400,
    `Unable to convert to Table as requested: includeObject: Invalid value: "All": must be 'Metadata', 'Object', 'None', or empty`,
  ]);
  const accepted = "only the following media types are accepted:";
  assert.deepEqual(await ask(`${MAPS}?watch=1`, "application/yaml"), [
    406,
    `${accepted} application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch`,
  ]);
  assert.equal((await ask(MAPS, "text/html", "POST"))[0], 406);
  assert.deepEqual(names((await at.request("GET", MAPS)).json), ["a"], "nothing was written for it");
  assert.equal((await at.request("GET", `${MAPS}/a?resourceVersion=0`)).status, 200);
});

test("events are selected by the fields of the group they are asked from", async (t) => {
  const at = await api(t);
  const event = (name: string): object => ({
    apiVersion: "v1",
    kind: "Event",
    metadata: { name },
    involvedObject: { kind: "Pod", namespace: "default", name },
  });
  for (const name of ["a", "b"]) await at.request("POST", "/api/v1/namespaces/default/events", event(name));
  const ask = async (path: string, field: string): Promise<unknown> => {
    const { json } = await at.request("GET", `${path}/namespaces/default/events?fieldSelector=${field}%3Da`);
    return json.items === undefined ? json.message : names(json);
  };
  const [core, v1] = ["/api/v1", "/apis/events.k8s.io/v1"];
  assert.deepEqual(await ask(core, "involvedObject.name"), ["a"]);
  assert.deepEqual(await ask(v1, "regarding.name"), ["a"]);
  assert.equal(await ask(core, "regarding.name"), "field label not supported: regarding.name");
  assert.equal(await ask(v1, "involvedObject.name"), "field label not supported: involvedObject.name");
});
