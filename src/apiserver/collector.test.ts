// What becomes of the objects that a deleted one owned.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { startTestApi, testPod, type Json, type TestApi } from "../../test/support/api.ts";

const MAPS = "/api/v1/namespaces/default/configmaps";
const PODS = "/api/v1/namespaces/default/pods";
const MERGE = { "Content-Type": "application/merge-patch+json" };

type Meta = Json["metadata"] & {
  readonly finalizers?: readonly string[];
  readonly ownerReferences?: readonly { readonly name: string; readonly blockOwnerDeletion?: boolean }[];
};

async function api(t: TestContext): Promise<TestApi> {
  const dir = await mkdtemp(join(tmpdir(), "orlop-collector-"));
  const opened = await startTestApi(dir);
  t.after(async () => {
    await opened[Symbol.asyncDispose]();
    await rm(dir, { recursive: true, force: true });
  });
  return opened;
}

interface Reference {
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
}

/** Makes a config map with these owners and finalizers, and gives the reference to it. */
async function map(at: TestApi, name: string, owners: readonly object[] = [], more: object = {}): Promise<Reference> {
  const metadata = { name, ownerReferences: owners, ...more };
  const { status, json, text } = await at.request("POST", MAPS, { apiVersion: "v1", kind: "ConfigMap", metadata });
  assert.equal(status, 201, text);
  return { apiVersion: "v1", kind: "ConfigMap", name, uid: json.metadata.uid } as Reference;
}

const metaOf = async (at: TestApi, name: string): Promise<Meta> =>
  (await at.request("GET", `${MAPS}/${name}`)).json.metadata;
const ownersOf = async (at: TestApi, name: string): Promise<string[] | undefined> =>
  (await metaOf(at, name)).ownerReferences?.map((owner) => owner.name);
const names = async (at: TestApi): Promise<string[]> =>
  ((await at.request("GET", MAPS)).json.items ?? []).map((item) => item.metadata.name);

/** Waits until the object is as wanted; `undefined` for one that is gone. */
async function until(at: TestApi, name: string, wanted: (meta: Meta | undefined) => boolean): Promise<void> {
  const first = await at.request("GET", `${MAPS}/${name}`);
  const found = first.status === 404 ? undefined : (first.json.metadata as Meta);
  if (wanted(found)) return;
  const { resourceVersion } = (await at.request("GET", MAPS)).json.metadata;
  const from = found?.resourceVersion ?? resourceVersion;
  for await (const { type, object } of at.watch(
    `${MAPS}?watch=1&resourceVersion=${from}&fieldSelector=metadata.name%3D${name}`,
  ))
    if (wanted(type === "DELETED" ? undefined : object.metadata)) return;
}
const isGone = (meta: Meta | undefined): boolean => meta === undefined;

test("an object goes with its last owner; while others hold it, only the reference goes", async (t) => {
  const at = await api(t);
  const a = await map(at, "a");
  const b = await map(at, "b");
  await map(at, "both", [a, b]);
  await map(at, "only", [a]);
  await at.request("DELETE", `${MAPS}/a`);
  await until(at, "only", isGone);
  await until(at, "both", (meta) => meta?.ownerReferences?.length === 1);
  assert.deepEqual(await ownersOf(at, "both"), ["b"]);
  await at.request("DELETE", `${MAPS}/b`);
  await until(at, "both", isGone);
});

test("an object whose owners never were goes; of an owner whose kind nobody knows, nothing is said", async (t) => {
  const at = await api(t);
  const never = { apiVersion: "v1", kind: "ConfigMap", name: "never", uid: "11111111-1111-1111-1111-111111111111" };
  const foreign = {
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    name: "set",
    uid: "22222222-2222-2222-2222-222222222222",
  };
  await map(at, "stranger", [foreign]);
  await map(at, "mixed", [never, foreign]);
  const real = await map(at, "real");
  await map(at, "renewed", [{ ...real, uid: never.uid }]);
  await map(at, "dangling", [never]);
  for (const name of ["renewed", "dangling"]) await until(at, name, isGone);
  assert.deepEqual(await names(at), ["mixed", "real", "stranger"]);
});

test("in the foreground, an owner stays until those that block it are gone", async (t) => {
  const at = await api(t);
  const owner = await map(at, "owner");
  await map(at, "free", [owner], { finalizers: ["test.dev/hold"] });
  await map(at, "blocking", [{ ...owner, blockOwnerDeletion: true }], { finalizers: ["test.dev/hold"] });
  const deleted = await at.request("DELETE", `${MAPS}/owner`, { propagationPolicy: "Foreground" });
  assert.equal(deleted.status, 200);
  assert.deepEqual((deleted.json.metadata as Meta).finalizers, ["foregroundDeletion"]);
  assert.equal(deleted.json.metadata.deletionGracePeriodSeconds, 0);
  for (const name of ["free", "blocking"]) await until(at, name, (meta) => meta?.deletionTimestamp !== undefined);
  await at.request("PATCH", `${MAPS}/free`, { metadata: { finalizers: null } }, MERGE);
  await until(at, "free", isGone);
  assert.deepEqual((await metaOf(at, "owner")).finalizers, ["foregroundDeletion"]);
  await at.request("PATCH", `${MAPS}/blocking`, { metadata: { finalizers: null } }, MERGE);
  await until(at, "owner", isGone);
  assert.deepEqual(await names(at), []);
});

test("a deletion in the foreground goes down all generations, last first", async (t) => {
  const at = await api(t);
  const top = await map(at, "top");
  const middle = await map(at, "middle", [{ ...top, blockOwnerDeletion: true }]);
  await map(at, "leaf", [{ ...middle, blockOwnerDeletion: true }], { finalizers: ["test.dev/hold"] });
  await at.request("DELETE", `${MAPS}/top`, { propagationPolicy: "Foreground" });
  await until(at, "leaf", (meta) => meta?.deletionTimestamp !== undefined);
  assert.deepEqual((await metaOf(at, "middle")).finalizers, ["foregroundDeletion"]);
  const gone: string[] = [];
  const changes = at.watch(`${MAPS}?watch=1`);
  await changes.next();
  await at.request("PATCH", `${MAPS}/leaf`, { metadata: { finalizers: null } }, MERGE);
  for await (const { type, object } of changes) if (type === "DELETED" && gone.push(object.metadata.name) === 3) break;
  assert.deepEqual(gone, ["leaf", "middle", "top"]);
});

test("a circle of owners that block one another ends", async (t) => {
  const at = await api(t);
  const a = await map(at, "a");
  const b = await map(at, "b", [{ ...a, blockOwnerDeletion: true }]);
  const patch = { metadata: { ownerReferences: [{ ...b, blockOwnerDeletion: true }] } };
  await at.request("PATCH", `${MAPS}/a`, patch, MERGE);
  await at.request("DELETE", `${MAPS}/a`, { propagationPolicy: "Foreground" });
  for (const name of ["a", "b"]) await until(at, name, isGone);
});

test("an orphaning deletion leaves the dependents, without the reference", async (t) => {
  const at = await api(t);
  const owner = await map(at, "owner");
  const other = await map(at, "other");
  await map(at, "one", [owner]);
  await map(at, "two", [other, owner]);
  const deleted = await at.request("DELETE", `${MAPS}/owner`, { propagationPolicy: "Orphan" });
  assert.deepEqual((deleted.json.metadata as Meta).finalizers, ["orphan"]);
  await until(at, "owner", isGone);
  assert.deepEqual([await ownersOf(at, "one"), await ownersOf(at, "two")], [undefined, ["other"]]);
  const third = await map(at, "third", [], { finalizers: ["orphan"] });
  await map(at, "child", [third]);
  await at.request("DELETE", `${MAPS}/third`);
  await until(at, "third", isGone);
  assert.equal(await ownersOf(at, "child"), undefined, "the object's own finalizer says it where nobody asks");
  assert.equal((await at.request("DELETE", `${MAPS}/other?orphanDependents=true`)).status, 200);
  await until(at, "other", isGone);
  assert.equal(await ownersOf(at, "two"), undefined);
});

test("a Pod on a node that is deleted in the foreground waits for its kubelet and for its dependents", async (t) => {
  const at = await api(t);
  const { uid } = (await at.request("POST", PODS, testPod("p", { nodeName: "n1" }))).json.metadata;
  const owner = { apiVersion: "v1", kind: "Pod", name: "p", uid, blockOwnerDeletion: true };
  await map(at, "m", [owner], { finalizers: ["test.dev/hold"] });
  const marked = await at.request("DELETE", `${PODS}/p`, { propagationPolicy: "Foreground", gracePeriodSeconds: 9 });
  assert.deepEqual(
    [(marked.json.metadata as Meta).finalizers, marked.json.metadata.deletionGracePeriodSeconds],
    [["foregroundDeletion"], 9],
  );
  const again = await at.request("DELETE", `${PODS}/p`, { propagationPolicy: "Orphan" });
  assert.deepEqual((again.json.metadata as Meta).finalizers, ["foregroundDeletion"], "what ends already goes its way");
  await until(at, "m", (meta) => meta?.deletionTimestamp !== undefined);
  const killed = await at.request("DELETE", `${PODS}/p`, { gracePeriodSeconds: 0 });
  assert.equal(killed.json.metadata.deletionGracePeriodSeconds, 0);
  const changes = at.watch(`${PODS}?watch=1`);
  assert.equal((await changes.next()).value?.type, "ADDED");
  await at.request("PATCH", `${MAPS}/m`, { metadata: { finalizers: null } }, MERGE);
  for await (const { type } of changes) if (type === "DELETED") break;
});

test("how a deletion is to propagate is said once, in words that are known", async (t) => {
  const at = await api(t);
  await map(at, "m");
  const said = async (options: object): Promise<string | undefined> =>
    (await at.request("DELETE", `${MAPS}/m`, options)).json.message;
  assert.equal(
    await said({ propagationPolicy: "Orphan", orphanDependents: true }),
    'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Invalid value: "Orphan": orphanDependents and deletionPropagation cannot be both set',
  );
  assert.equal(
    await said({ dryRun: ["Some"] }),
    'DeleteOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Some"]: supported values: "All"',
  );
});
