import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { startTestApi, testPod, type Answer, type TestApi } from "../../test/support/api.ts";

const PODS = "/api/v1/namespaces/default/pods";

async function api(t: TestContext): Promise<TestApi> {
  const dir = await mkdtemp(join(tmpdir(), "orlop-patches-"));
  const opened = await startTestApi(dir);
  t.after(async () => {
    await opened[Symbol.asyncDispose]();
    await rm(dir, { recursive: true, force: true });
  });
  return opened;
}

type Patching = (type: string, body: unknown, query?: string) => Promise<Answer>;

async function patching(t: TestContext): Promise<Patching> {
  const { request } = await api(t);
  await request("POST", PODS, testPod("p", {}, { a: "1" }));
  return (type, body, query = "") =>
    request("PATCH", `${PODS}/p${query}`, body, { "Content-Type": `application/${type}` });
}

const said = ({ status, json }: Answer): unknown[] => [status, json.message];

test("a JSON patch that cannot be read is bad, and one that does not apply cannot be processed", async (t) => {
  const patch = await patching(t);
  const json = (body: unknown): Promise<Answer> => patch("json-patch+json", body);
  assert.deepEqual(said(await json({})), [
    400,
    "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
  ]);
  assert.deepEqual(said(await json(["x"])), [
    400,
    "error decoding patch: json: cannot unmarshal string into Go value of type handlers.jsonPatchOp",
  ]);
  assert.deepEqual(said(await json("[")), [400, "error decoding patch: unexpected end of JSON input"]);
  const refused = [422, "the server rejected our request due to an error in our request"];
  for (const operation of [
    { op: "test", path: "/metadata/labels/a", value: "2" },
    { op: "remove", path: "/metadata/labels/none" },
    { op: "add", path: "/none/deep", value: 1 },
    { op: "odd", path: "/metadata" },
    { op: "add" },
  ]) {
    const answer = await json([operation]);
    assert.deepEqual(said(answer), refused, JSON.stringify(operation));
    assert.deepEqual([answer.json.reason, answer.json["details"]], ["Invalid", {}]);
  }
  const many = Array.from({ length: 10_001 }, () => ({ op: "test", path: "/kind", value: "Pod" }));
  const tooMany = await json(many);
  assert.deepEqual(said(tooMany), [
    413,
    "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001",
  ]);
  assert.equal(tooMany.json.reason, "RequestEntityTooLarge");
  assert.deepEqual(said(await patch("merge-patch+json", `{"a":"${"x".repeat(3 * 1024 * 1024)}"}`)), [
    413,
    "Request entity too large: limit is 3145728",
  ]);
});

test("what a JSON patch does not know is told, or refused with the result shown", async (t) => {
  const patch = await patching(t);
  const operation = { op: "replace", path: "/metadata/labels/a", value: "2", odd: 1 };
  const warned = await patch("json-patch+json", [operation]);
  assert.deepEqual(
    [warned.status, warned.headers.get("warning")],
    [200, '299 - "json patch unknown field \\"[0].odd\\""'],
  );
  const strict = await patch("json-patch+json", [operation], "?fieldValidation=Strict");
  assert.equal(strict.status, 422);
  assert.match(
    strict.json.message ?? "",
    /^ "" is invalid: patch: Invalid value: .*: strict decoding error: json patch unknown field "\[0\]\.odd"$/,
  );
});

test("a merge patch must be an object, and a strategic one too, but for null", async (t) => {
  const patch = await patching(t);
  const array = "json: cannot unmarshal array into Go value of type map[string]interface {}";
  assert.deepEqual(said(await patch("merge-patch+json", [])), [400, `error decoding patch: ${array}`]);
  assert.deepEqual(said(await patch("merge-patch+json", "null")), [400, "Invalid JSON Patch"]);
  assert.deepEqual(said(await patch("strategic-merge-patch+json", [])), [400, array]);
  assert.equal((await patch("strategic-merge-patch+json", "null")).status, 200);
});

test("a strategic merge whose result does not fit says what does not, and of which kind it is", async (t) => {
  const patch = await patching(t);
  const cases: [object, string, string][] = [
    [{ spec: { containers: "x" } }, "map[spec:map[containers:x]]", "cannot restore slice from string"],
    [{ spec: "x" }, "map[spec:x]", "cannot restore struct from: string"],
    [{ metadata: { labels: [1] } }, "map[metadata:map[labels:[1]]]", "cannot restore map from slice"],
    [{ metadata: { labels: { a: 1 } } }, "map[metadata:map[labels:map[a:1]]]", "cannot convert int64 to string"],
    [
      {
        spec: { "$setElementOrder/containers": [{ name: "c" }], containers: [{ name: "c", image: 5 }], hostname: "h" },
      },
      "map[spec:map[hostname:h]]",
      "cannot convert int64 to string",
    ],
    [{ spec: { priority: "x" } }, "map[spec:map[priority:x]]", "unrecognized type: int32"],
    [{ spec: { hostNetwork: "x" } }, "map[spec:map[hostNetwork:x]]", "unrecognized type: bool"],
  ];
  for (const [body, shown, why] of cases)
    assert.deepEqual(said(await patch("strategic-merge-patch+json", body)), [
      422,
      ` "" is invalid: patch: Invalid value: ${JSON.stringify(shown)}: ${why}`,
    ]);
  const merged = await patch("merge-patch+json", { spec: { containers: "x" } });
  assert.equal(merged.status, 422);
  assert.match(merged.json.message ?? "", /: json: cannot unmarshal string into Go struct field .*containers/);
});

test("the options of a write are checked together, by the kind of the write", async (t) => {
  const { request } = await api(t);
  await request("POST", PODS, testPod("p"));
  const query = "?dryRun=some&fieldValidation=Odd&force=true";
  const patched = await request("PATCH", `${PODS}/p${query}`, {}, { "Content-Type": "application/merge-patch+json" });
  assert.deepEqual(said(patched), [
    422,
    `PatchOptions.meta.k8s.io "" is invalid: [force: Forbidden: may not be specified for non-apply patch, dryRun: Unsupported value: ["some"]: supported values: "All", fieldValidation: Unsupported value: "Odd": supported values: "", "Ignore", "Strict", "Warn"]`,
  ]);
  const unprintable = await request("POST", `${PODS}?fieldManager=a%07b`, testPod("q"));
  assert.match(
    unprintable.json.message ?? "",
    /^CreateOptions.* fieldManager: .*: invalid character U\+0007 \(at position 1\)$/,
  );
  const put = await request("PUT", `${PODS}/p?dryRun=some`, testPod("p"));
  const posted = await request("POST", `${PODS}?fieldManager=${"x".repeat(129)}`, testPod("q"));
  const deleted = await request("DELETE", `${PODS}/p`, { dryRun: ["some"] });
  const all = 'is invalid: dryRun: Unsupported value: ["some"]: supported values: "All"';
  assert.deepEqual(said(put), [422, `UpdateOptions.meta.k8s.io "" ${all}`]);
  assert.deepEqual(said(deleted), [422, `DeleteOptions.meta.k8s.io "" ${all}`]);
  assert.deepEqual(said(posted), [
    422,
    'CreateOptions.meta.k8s.io "" is invalid: fieldManager: Too long: may not be more than 128 bytes',
  ]);
});

test("a patch of what is not there says so before it says anything about the patch", async (t) => {
  const { request } = await api(t);
  const missing = await request("PATCH", `${PODS}/p`, "{", { "Content-Type": "application/merge-patch+json" });
  assert.deepEqual(said(missing), [404, 'pods "p" not found']);
  const type = await request("PATCH", `${PODS}/p`, "{", { "Content-Type": "text/plain" });
  assert.deepEqual(said(type), [415, "415: Unsupported Media Type"]);
});
