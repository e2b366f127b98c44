import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { startTestApi, testPod, type TestApi } from "../../test/support/api.ts";

const PODS = "/api/v1/namespaces/default/pods";
const YAML = { "Content-Type": "application/yaml" };

async function api(t: TestContext): Promise<TestApi> {
  const dir = await mkdtemp(join(tmpdir(), "orlop-bodies-"));
  const opened = await startTestApi(dir);
  t.after(async () => {
    await opened[Symbol.asyncDispose]();
    await rm(dir, { recursive: true, force: true });
  });
  return opened;
}

const SCHEME = 'in scheme "pkg/api/legacyscheme/scheme.go:30"';
const UNREAD = "the object provided is unrecognized (must be of type Pod): ";
const NO_KIND = `${UNREAD}couldn't get version/kind; json parse error: `;
const pod = (more: object): object => ({ ...testPod("p"), ...more });

const refused: readonly (readonly [title: string, body: unknown, headers: Record<string, string>, message: string])[] =
  [
    ["nothing", "", {}, `${NO_KIND}unexpected end of JSON input (<empty>)`],
    [
      "a list",
      "[1]",
      {},
      `${NO_KIND}json: cannot unmarshal array into Go value of type struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" } (5b315d)`,
    ],
    [
      "a kind that is a number",
      '{"kind":5}',
      {},
      `${NO_KIND}json: cannot unmarshal number into Go struct field .kind of type string ({"kind":5})`,
    ],
    [
      "another version",
      pod({ apiVersion: "v2" }),
      {},
      `Pod in version "v2" cannot be handled as a Pod: no kind "Pod" is registered for version "v2" ${SCHEME}`,
    ],
    [
      "another group",
      pod({ apiVersion: "apps/v1" }),
      {},
      `Pod in version "v1" cannot be handled as a Pod: no kind "Pod" is registered for version "apps/v1" ${SCHEME}`,
    ],
    [
      "a kind that nobody knows",
      pod({ kind: "Podd" }),
      {},
      `Podd in version "v1" cannot be handled as a Pod: no kind "Podd" is registered for version "v1" ${SCHEME}`,
    ],
    [
      "a kind of another group",
      { apiVersion: "apps/v1", kind: "Deployment" },
      {},
      'Deployment in version "v1" cannot be handled as a Pod: converting (v1.Deployment) to (core.Pod): unknown conversion',
    ],
    [
      "YAML that is none",
      "a: b: c",
      YAML,
      `${UNREAD}yaml: mapping values are not allowed in this context (613a20623a2063)`,
    ],
    [
      "a whole number that is none",
      pod({ spec: { activeDeadlineSeconds: 1.5 } }),
      {},
      'Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal number 1.5 into Go struct field PodSpec.spec.activeDeadlineSeconds of type int64',
    ],
  ];

test("a body that cannot be read is refused in words clients know", async (t) => {
  const { request } = await api(t);
  for (const [title, body, headers, message] of refused) {
    const { status, json } = await request("POST", PODS, body, headers);
    assert.deepEqual([status, json.reason, json.message], [400, "BadRequest", message], title);
  }
});

test("odd fields of YAML come by name, after the keys that are twice", async (t) => {
  const { request } = await api(t);
  const text =
    "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n  zzz: 1\n  containers:\n  - name: c\n    image: b:1\n    odd: 1\n    odd: 2\n";
  const { json } = await request("POST", `${PODS}?fieldValidation=Strict`, text, YAML);
  assert.equal(
    json.message,
    'Pod in version "v1" cannot be handled as a Pod: strict decoding error: yaml: unmarshal errors:\n  line 11: key "odd" already set in map, unknown field "spec.containers[0].odd", unknown field "spec.zzz"',
  );
});

test("an error in the metadata of an update is told as often as upstream meets it, and shown once", async (t) => {
  const { request } = await api(t);
  await request("POST", PODS, testPod("p"));
  const merge = { "Content-Type": "application/merge-patch+json" };
  const wrong = { metadata: { labels: { a: "b c" } } };
  const { status, json } = await request("PATCH", `${PODS}/p`, wrong, merge);
  assert.equal(status, 422);
  assert.match(json.message ?? "", /^Pod "p" is invalid: metadata\.labels: Invalid value: "b c": [^[]*regex.*$/);
  const { details } = json as unknown as { details: { causes: unknown[] } };
  assert.equal(details.causes.length, 4);
  const ephemeral = await request(
    "PATCH",
    `${PODS}/p/ephemeralcontainers`,
    { metadata: { labels: { a: "b" } } },
    merge,
  );
  assert.deepEqual([ephemeral.status, ephemeral.json.metadata.labels], [200, undefined], "labels are not this path's");
});
