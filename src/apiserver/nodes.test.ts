import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import type { ApiServerOptions } from "#apiserver";
import { startTestApi, testPod, type Json, type TestApi } from "../../test/support/api.ts";

const PODS = "/api/v1/namespaces/default/pods";
const NODES = "/api/v1/nodes";
const LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
const STRATEGIC = { "Content-Type": "application/strategic-merge-patch+json" };
const KEYS = "node.kubernetes.io";

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly lastHeartbeatTime: string;
}
interface NodeLike extends Json {
  readonly spec: { readonly taints?: readonly { readonly key: string; readonly effect: string }[] };
  readonly status: { readonly conditions?: readonly Condition[]; readonly phase?: string };
}

async function api(t: TestContext, options: Partial<ApiServerOptions> = {}): Promise<TestApi> {
  const dir = await mkdtemp(join(tmpdir(), "orlop-nodes-"));
  const opened = await startTestApi(dir, options);
  t.after(async () => {
    await opened[Symbol.asyncDispose]();
    await rm(dir, { recursive: true, force: true });
  });
  return opened;
}

/** Waits until the object at `path` is as wanted. */
async function until(at: TestApi, list: string, name: string, wanted: (node: NodeLike) => boolean): Promise<NodeLike> {
  const lines = at.watch(`${list}?watch=1&fieldSelector=metadata.name%3D${name}`);
  for await (const { object } of lines) if (wanted(object as NodeLike)) return object as NodeLike;
  throw new Error(`${name} never got there`);
}

const taintsOf = ({ spec }: NodeLike): string[] =>
  (spec.taints ?? []).map(({ key, effect }) => `${key}:${effect}`).sort();
const readyOf = ({ status }: NodeLike): Condition | undefined =>
  status.conditions?.find(({ type }) => type === "Ready");

const readyStatus = (lastHeartbeatTime: string): object => ({
  status: {
    conditions: ["Ready", "MemoryPressure"].map((type) => ({
      type,
      status: type === "Ready" ? "True" : "False",
      reason: "Posted",
      message: "",
      lastHeartbeatTime,
      lastTransitionTime: "2026-01-01T00:00:00Z",
    })),
  },
});

async function node(at: TestApi, name: string): Promise<void> {
  await at.request("POST", NODES, { apiVersion: "v1", kind: "Node", metadata: { name } });
}

test("a node whose Lease is not renewed becomes Unknown with its Pods, until its kubelet is back", async (t) => {
  const at = await api(t, { nodeMonitorGracePeriod: 2000 });
  await node(at, "n1");
  await at.request("PATCH", `${NODES}/n1/status`, readyStatus("2026-01-01T00:00:00Z"), STRATEGIC);
  await until(at, NODES, "n1", (one) => taintsOf(one).length === 0);
  const lease = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { name: "n1" }, spec: {} };
  assert.equal((await at.request("POST", LEASES, lease)).status, 201);
  await at.request("POST", PODS, testPod("p", { nodeName: "n1" }));
  await at.request("POST", PODS, testPod("elsewhere", { nodeName: "n2" }));
  const ready = { status: { phase: "Running", conditions: [{ type: "Ready", status: "True" }] } };
  for (const name of ["p", "elsewhere"]) await at.request("PATCH", `${PODS}/${name}/status`, ready, STRATEGIC);

  const lost = await until(at, NODES, "n1", (one) => taintsOf(one).length > 0);
  const unknown = lost.status.conditions?.map(({ type, status, reason, message }) => [type, status, reason, message]);
  const stopped = ["Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status."];
  const never = ["Unknown", "NodeStatusNeverUpdated", "Kubelet never posted node status."];
  assert.deepEqual(unknown, [
    ["Ready", ...stopped],
    ["MemoryPressure", ...stopped],
    ["DiskPressure", ...never],
    ["PIDPressure", ...never],
  ]);
  assert.deepEqual(taintsOf(lost), [`${KEYS}/unreachable:NoExecute`, `${KEYS}/unreachable:NoSchedule`]);
  const pod = await until(at, PODS, "p", (one) => readyOf(one)?.status === "False");
  assert.equal(pod.status.phase, "Running", "nothing is evicted for five minutes");
  assert.equal(pod.metadata.deletionTimestamp, undefined);
  assert.equal(readyOf((await at.request("GET", `${PODS}/elsewhere`)).json as NodeLike)?.status, "True");
  const told = (await at.request("GET", "/api/v1/events?fieldSelector=reason%3DNodeNotReady")).json.items ?? [];
  assert.deepEqual(
    told.map(
      (event) => `${event["type"] as string} ${(event["involvedObject"] as { kind: string }).kind} ${event.message}`,
    ),
    ["Normal Node Node n1 status is now: NodeNotReady", "Warning Pod Node is not ready"],
  );

  await at.request("PATCH", `${NODES}/n1/status`, readyStatus("2026-01-01T00:00:10Z"), STRATEGIC);
  const back = await until(at, NODES, "n1", (one) => taintsOf(one).length === 0);
  assert.equal(readyOf(back)?.status, "True");
});

test("a node that never posted anything is told so, and stays away from Pods", async (t) => {
  const at = await api(t, { nodeMonitorGracePeriod: 200 });
  await node(at, "n1");
  const lost = await until(at, NODES, "n1", (one) => readyOf(one)?.status === "Unknown");
  assert.deepEqual(
    new Set(lost.status.conditions?.map(({ message }) => message)),
    new Set(["Kubelet never posted node status."]),
  );
  await until(at, NODES, "n1", (one) => taintsOf(one).includes(`${KEYS}/unreachable:NoSchedule`));
});

test("Pods go when they bear a NoExecute taint no longer, and stay when it is taken off in time", async (t) => {
  const at = await api(t);
  await node(at, "n1");
  const bears = (more: object): object => ({ tolerations: [{ key: "maintenance", operator: "Exists", ...more }] });
  const all: Record<string, object> = {
    plain: {},
    "not-this": { tolerations: [{ key: "maintenance", value: "tomorrow", effect: "NoExecute" }] },
    "a-second": bears({ effect: "NoExecute", tolerationSeconds: 1 }),
    "an-hour": bears({ effect: "NoExecute", tolerationSeconds: 3600 }),
    always: bears({}),
  };
  for (const [name, spec] of Object.entries(all))
    await at.request("POST", PODS, testPod(name, { nodeName: "n1", ...spec }));
  await at.request("POST", PODS, testPod("elsewhere", { nodeName: "n2" }));
  const { resourceVersion } = (await at.request("GET", PODS)).json.metadata;
  const taints = [{ key: "maintenance", value: "now", effect: "NoExecute" }];
  await at.request("PATCH", `${NODES}/n1`, { spec: { taints } }, STRATEGIC);
  const ending: string[] = [];
  for await (const { object } of at.watch(`${PODS}?watch=1&resourceVersion=${resourceVersion}`)) {
    if (object.metadata.deletionTimestamp === undefined) continue;
    const { conditions } = (object as NodeLike).status;
    const why = conditions?.find(({ type }) => type === "DisruptionTarget");
    assert.deepEqual(
      [why?.reason, why?.message],
      ["DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint"],
    );
    if (ending.push(object.metadata.name) === 3) break;
  }
  assert.deepEqual(ending.slice(0, 2).sort(), ["not-this", "plain"]);
  assert.equal(ending[2], "a-second");
  await at.request(
    "PATCH",
    `${NODES}/n1`,
    { spec: { taints: null } },
    { "Content-Type": "application/merge-patch+json" },
  );
  const told = at.watch("/api/v1/namespaces/default/events?watch=1&fieldSelector=reason%3DTaintManagerEviction");
  const messages: string[] = [];
  for await (const { object } of told) if (messages.push(object.message ?? "") === 4) break;
  assert.deepEqual(messages.sort(), [
    "Cancelling deletion of Pod default/an-hour",
    "Marking for deletion Pod default/a-second",
    "Marking for deletion Pod default/not-this",
    "Marking for deletion Pod default/plain",
  ]);
  await at.request("POST", PODS, testPod("late", { nodeName: "n1" }));
  await at.request("PATCH", `${NODES}/n1`, { spec: { taints } }, STRATEGIC);
  await until(at, PODS, "late", ({ metadata }) => metadata.deletionTimestamp !== undefined);
  for (const name of ["an-hour", "always", "elsewhere"])
    assert.equal((await at.request("GET", `${PODS}/${name}`)).json.metadata.deletionTimestamp, undefined, name);
});

test("an evicted Pod says so, once, and no budget is there to keep it", async (t) => {
  const at = await api(t);
  const eviction = (more: object): object => ({
    apiVersion: "policy/v1",
    kind: "Eviction",
    metadata: { name: "p" },
    ...more,
  });
  const evict = (more: object = {}, query = ""): ReturnType<TestApi["request"]> =>
    at.request("POST", `${PODS}/p/eviction${query}`, eviction(more));
  const { uid, resourceVersion } = (await at.request("POST", PODS, testPod("p", { nodeName: "n1" }))).json.metadata;
  const stale = await evict({ deleteOptions: { preconditions: { uid: "other" } } });
  assert.equal(
    stale.json.message,
    `Operation cannot be fulfilled on Pod "p": the UID in the precondition (other) does not match the UID in record (${uid}). The pod might have been deleted and then recreated`,
  );
  assert.equal((await evict({ metadata: {} })).json.message, "name in URL does not match name in Eviction object");
  assert.equal((await evict({}, "?dryRun=All")).status, 201);
  assert.equal((await at.request("GET", `${PODS}/p`)).json.metadata.resourceVersion, resourceVersion);
  const done = await evict({ deleteOptions: { gracePeriodSeconds: 7, preconditions: { uid, resourceVersion } } });
  assert.deepEqual([done.status, done.json["status"]], [201, "Success"]);
  const pod = (await at.request("GET", `${PODS}/p`)).json as NodeLike;
  assert.equal(pod.metadata.deletionGracePeriodSeconds, 7);
  const why = pod.status.conditions?.find(({ type }) => type === "DisruptionTarget");
  assert.deepEqual([why?.reason, why?.message], ["EvictionByEvictionAPI", "Eviction API: evicting"]);
  const budgets = await at.request("GET", "/apis/policy/v1/namespaces/default/poddisruptionbudgets");
  assert.deepEqual([budgets.status, budgets.json.message], [404, "the server could not find the requested resource"]);
});

test("Pods of a node that is gone are removed, those that end too; Pods of other nodes stay", async (t) => {
  const at = await api(t, { missingNodeGracePeriod: 200 });
  for (const name of ["n1", "n2"]) await node(at, name);
  for (const name of ["p", "ending"]) await at.request("POST", PODS, testPod(name, { nodeName: "n1" }));
  await at.request("POST", PODS, testPod("elsewhere", { nodeName: "n2" }));
  await at.request("POST", PODS, testPod("unbound"));
  await at.request("DELETE", `${PODS}/ending`, { gracePeriodSeconds: 600 });
  const gone = new Set<string>();
  const changes = at.watch(`${PODS}?watch=1`);
  await at.request("DELETE", `${NODES}/n1`);
  let failed: NodeLike | undefined;
  for await (const { type, object } of changes) {
    const { metadata, status } = object as NodeLike;
    if (metadata.name === "p" && status.phase === "Failed") failed ??= object as NodeLike;
    if (type === "DELETED" && gone.add(metadata.name).size === 2) break;
  }
  assert.deepEqual([...gone].sort(), ["ending", "p"]);
  const why = failed?.status.conditions?.find(({ type }) => type === "DisruptionTarget");
  assert.deepEqual([why?.reason, why?.message], ["DeletionByPodGC", "PodGC: node no longer exists"]);
  const left = (await at.request("GET", PODS)).json.items ?? [];
  assert.deepEqual(
    left.map(({ metadata }) => metadata.name),
    ["elsewhere", "unbound"],
  );
});

test("a node that says it is not ready is tainted against new Pods and against those it has", async (t) => {
  const at = await api(t);
  await node(at, "n1");
  const conditions = [{ type: "Ready", status: "False", reason: "KubeletNotReady", message: "" }];
  await at.request("PATCH", `${NODES}/n1/status`, { status: { conditions } }, STRATEGIC);
  const tainted = await until(at, NODES, "n1", (one) => taintsOf(one).length === 2);
  assert.deepEqual(taintsOf(tainted), [`${KEYS}/not-ready:NoExecute`, `${KEYS}/not-ready:NoSchedule`]);
});

test("a cordoned node has the taint that says so, as long as it is cordoned", async (t) => {
  const at = await api(t);
  await node(at, "n1");
  await at.request("PATCH", `${NODES}/n1`, { spec: { unschedulable: true } }, STRATEGIC);
  await until(at, NODES, "n1", (one) => taintsOf(one).includes(`${KEYS}/unschedulable:NoSchedule`));
  await at.request("PATCH", `${NODES}/n1`, { spec: { unschedulable: null } }, STRATEGIC);
  const free = await until(at, NODES, "n1", (one) => !taintsOf(one).includes(`${KEYS}/unschedulable:NoSchedule`));
  assert.deepEqual(taintsOf(free), [`${KEYS}/not-ready:NoSchedule`]);
});

test("a node that runs short of something has the taint that says so, as long as it does", async (t) => {
  const at = await api(t);
  await node(at, "n1");
  const post = (pressure: string): Promise<unknown> => {
    const conditions = ["Ready", "DiskPressure", "PIDPressure"].map((type) => ({
      type,
      status: type === "Ready" || type === pressure ? "True" : "False",
    }));
    return at.request("PATCH", `${NODES}/n1/status`, { status: { conditions } }, STRATEGIC);
  };
  await post("DiskPressure");
  await until(at, NODES, "n1", (one) => taintsOf(one).join() === `${KEYS}/disk-pressure:NoSchedule`);
  await post("PIDPressure");
  await until(at, NODES, "n1", (one) => taintsOf(one).join() === `${KEYS}/pid-pressure:NoSchedule`);
  await post("");
  await until(at, NODES, "n1", (one) => taintsOf(one).length === 0);
});

test("a Pod without pull secrets takes those of its service account, and nobody manages them", async (t) => {
  const at = await api(t);
  const accounts = "/api/v1/namespaces/default/serviceaccounts";
  const account = { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "robot" } };
  await at.request("POST", accounts, { ...account, imagePullSecrets: [{ name: "robots" }] });
  await at.request("PATCH", `${accounts}/default`, { imagePullSecrets: [{ name: "a" }, { name: "b" }] }, STRATEGIC);
  const secretsOf = async (name: string, spec: object): Promise<unknown> => {
    const { json } = await at.request("POST", PODS, testPod(name, spec));
    return (json["spec"] as { imagePullSecrets?: unknown }).imagePullSecrets;
  };
  assert.deepEqual(await secretsOf("plain", {}), [{ name: "a" }, { name: "b" }]);
  assert.deepEqual(await secretsOf("robot", { serviceAccountName: "robot" }), [{ name: "robots" }]);
  assert.deepEqual(await secretsOf("own", { imagePullSecrets: [{ name: "own" }] }), [{ name: "own" }]);
  assert.deepEqual(await secretsOf("strange", { serviceAccountName: "none" }), undefined);
  const { json } = await at.request("GET", `${PODS}/plain`);
  assert.doesNotMatch(JSON.stringify(json.metadata.managedFields), /imagePullSecrets/);
  assert.equal((json["spec"] as { serviceAccountName?: string }).serviceAccountName, undefined);
});
