import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { quantityValue, type Node, type Pod } from "#k8s";
import { rank } from "./eviction-rank.ts";
import type { Measured } from "./measure.ts";
import { startNode, type TestNode } from "./testing/node.ts";
import { DEFAULT_THRESHOLDS, isMet, parseThresholds } from "./thresholds.ts";
import type { PodUse } from "./usage.ts";

const image = "busybox:1";
const MIB = 1 << 20;
const PLENTY: Measured = {
  "memory.available": { available: 1000 * MIB, capacity: 2000 * MIB },
  "nodefs.available": { available: 1000 * MIB, capacity: 2000 * MIB },
};

/** A node whose machine is as the test says, looked at every few milliseconds. */
async function nodeWith(state: { measured: Measured }, config: object = {}): Promise<TestNode> {
  return await startNode(
    { evictionMonitorPeriod: 20, evictionPressureTransitionPeriod: 0, volumeStatsAggPeriod: 0, ...config },
    (api) => api,
    { measure: async () => state.measured },
  );
}

/** What the runtime counts: megabytes of memory by the name of the container. */
function uses(node: TestNode, memory: Readonly<Record<string, number>>): void {
  const stats = () =>
    [...node.runtime.containers.values()].map(({ request }) => ({
      attributes: { labels: request.config?.labels ?? {} },
      memory: { workingSetBytes: { value: BigInt((memory[request.config?.metadata?.name ?? ""] ?? 0) * MIB) } },
    }));
  Object.assign(node.runtime, { listContainerStats: async () => ({ stats: stats() }) });
}

const isRunning = (pod: Pod): boolean => pod.status?.phase === "Running";
const nodeCondition = (node: TestNode, type: string): string | undefined =>
  (node.api.read("nodes", "", "node") as Node | undefined)?.status?.conditions?.find((one) => one.type === type)
    ?.status;

test("thresholds are upstream's, absolute or of what there is, and nothing else is taken for one", () => {
  const met = (measured: Measured): string[] =>
    parseThresholds(DEFAULT_THRESHOLDS)
      .filter((threshold) => isMet(threshold, measured))
      .map(({ signal }) => signal);
  assert.deepEqual(met({ "memory.available": { available: 100 * MIB - 1, capacity: 1 } }), ["memory.available"]);
  assert.deepEqual(met({ "memory.available": { available: 100 * MIB, capacity: 1 } }), []);
  assert.deepEqual(met({ "nodefs.available": { available: 99, capacity: 1000 } }), ["nodefs.available"]);
  assert.deepEqual(met({ "imagefs.available": { available: 149, capacity: 1000 } }), ["imagefs.available"]);
  assert.deepEqual(met({ "nodefs.inodesFree": { available: 49, capacity: 1000 } }), ["nodefs.inodesFree"]);
  assert.throws(() => parseThresholds({ "cpu.available": "1" }), /the signal is none of memory.available/);
  assert.throws(() => parseThresholds({ "memory.available": "lots" }), /neither a quantity nor a percentage/);
});

test("Pods go that use more than they request, the least important first, then who uses most", () => {
  const pod = (uid: string, priority: number, request?: string): Pod => ({
    metadata: { uid },
    spec: {
      priority,
      containers: [{ name: "a", ...(request ? { resources: { requests: { memory: request } } } : {}) }],
    },
  });
  const use = (mebibytes: number): PodUse => ({
    containers: [
      {
        name: "a",
        cpuNanoSeconds: 0,
        memoryBytes: mebibytes * MIB,
        rootfs: { bytes: 0, inodes: 0 },
        logs: { bytes: 0, inodes: 0 },
      },
    ],
    volumes: new Map(),
  });
  const pods = [pod("within", 0, "100Mi"), pod("important", 10), pod("small", 0), pod("large", 0), pod("unknown", 0)];
  const measured = new Map([
    ["within", use(90)],
    ["important", use(500)],
    ["small", use(5)],
    ["large", use(50)],
  ]);
  assert.deepEqual(
    rank("memory", pods, measured).map(({ metadata }) => metadata?.uid),
    ["unknown", "large", "small", "important", "within"],
  );
  assert.equal(rank("pids", pods, measured).at(-1)?.metadata?.uid, "important");
});

test("where memory runs short, the node says so, the Pod over its request goes, and the rest stays", async () => {
  const state = { measured: PLENTY };
  await using node = await nodeWith(state);
  const requests = (memory: string) => ({ resources: { requests: { memory } } });
  node.apply("greedy", { containers: [{ name: "greedy", image, ...requests("16Mi") }] });
  node.apply("modest", { containers: [{ name: "modest", image, ...requests("64Mi") }] });
  uses(node, { greedy: 48, modest: 60 });
  for (const name of ["greedy", "modest"]) await node.when(name, isRunning);

  state.measured = { ...PLENTY, "memory.available": { available: 50 * MIB, capacity: 2000 * MIB } };
  const { status } = await node.when("greedy", (pod) => pod.status?.phase === "Failed");
  state.measured = PLENTY;
  const message =
    "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. Container greedy was using 48Mi, request is 16Mi, has larger consumption of memory. ";
  assert.equal(status?.reason, "Evicted");
  assert.equal(status?.message, message);
  const condition = status?.conditions?.find(({ type }) => type === "DisruptionTarget");
  assert.deepEqual([condition?.status, condition?.reason], ["True", "TerminationByKubelet"]);
  assert.ok(node.told("greedy").includes(`Warning Evicted ${message}`));
  assert.deepEqual(
    node.runtime.stops.map(({ name, timeout }) => [name, timeout]),
    [["greedy", 2]],
  );
  assert.ok(isRunning(node.pod("modest")));
  await node.api.until(() => node.told("node").some((line) => line.includes("Attempting to reclaim memory")));
  await node.api.until(() => nodeCondition(node, "MemoryPressure") === "False");
});

test("nothing of an evicted Pod is left but its object", async () => {
  const state = { measured: PLENTY };
  await using node = await nodeWith(state);
  const { metadata } = node.apply("web", {
    containers: [{ name: "a", image }],
    volumes: [{ name: "v", emptyDir: {} }],
  });
  await node.when("web", isRunning);
  const directory = join(node.directory, "kubelet/pods", metadata?.uid ?? "");
  assert.ok(existsSync(directory));
  state.measured = { "nodefs.available": { available: 1, capacity: 1000 } };
  await node.when("web", (pod) => pod.status?.reason === "Evicted");
  await node.runtime.until(() => node.runtime.sandboxes.size === 0 && !existsSync(directory));
  await node.restart();
  await node.kubelet.ready;
  assert.equal(node.pod("web").status?.phase, "Failed");
  assert.equal(node.runtime.sandboxes.size, 0);
});

test("under pressure a new Pod is refused: of memory only one that promises nothing, of disk any that is not critical", async () => {
  const state = { measured: { "memory.available": { available: 1, capacity: 1000 } } as Measured };
  await using node = await nodeWith(state);
  await node.api.until(() => nodeCondition(node, "MemoryPressure") === "True");
  node.apply("effort", { containers: [{ name: "a", image }] });
  const { status } = await node.when("effort", (pod) => pod.status?.phase === "Failed");
  assert.equal(status?.reason, "Evicted");
  assert.equal(status?.message, "Pod was rejected: The node had condition: [MemoryPressure]. ");
  assert.ok(node.told("effort").includes("Warning Evicted The node had condition: [MemoryPressure]. "));
  assert.equal(node.runtime.sandboxes.size, 0);

  state.measured = { "imagefs.available": { available: 1, capacity: 1000 } };
  await node.api.until(() => nodeCondition(node, "DiskPressure") === "True");
  node.apply("burst", { containers: [{ name: "a", image, resources: { requests: { cpu: "1" } } }] });
  await node.when(
    "burst",
    (pod) => pod.status?.message === "Pod was rejected: The node had condition: [DiskPressure]. ",
  );
  node.apply("critical", { priority: 2_000_001_000, containers: [{ name: "a", image }] });
  await node.when("critical", isRunning);
});

test("what Pods may have of the node is what is left above the thresholds", async () => {
  await using node = await nodeWith({ measured: PLENTY }, { evictionHard: { "memory.available": "256Mi" } });
  const { status } = (await node.api.until(() => node.api.read("nodes", "", "node"))) as Node;
  const bytes = (quantity: string | undefined): number => quantityValue(quantity ?? "0");
  assert.equal(bytes(status?.capacity?.["memory"]) - bytes(status?.allocatable?.["memory"]), 256 * MIB);
  assert.equal(status?.allocatable?.["ephemeral-storage"], status?.capacity?.["ephemeral-storage"]);
});

test("images that nobody uses go before any Pod does", async () => {
  const state = { measured: PLENTY };
  await using node = await nodeWith(state, { imageMinimumGCAge: 0 });
  node.apply("web", { containers: [{ name: "a", image }] });
  await node.when("web", isRunning);
  node.runtime.images.set("old:1", { id: "sha256:old", size: 60n });
  const remove = node.runtime.removeImage;
  Object.assign(node.runtime, {
    removeImage: async (...args: Parameters<typeof remove>) => {
      state.measured = PLENTY;
      return await remove(...args);
    },
  });
  state.measured = { "imagefs.available": { available: 1, capacity: 1000 } };
  await node.runtime.until(() => !node.runtime.images.has("old:1"));
  await node.api.until(() => nodeCondition(node, "DiskPressure") === "False");
  assert.ok(isRunning(node.pod("web")));
});

test("a Pod that fills an emptyDir beyond its sizeLimit, or writes more than its containers may, is evicted", async () => {
  await using node = await nodeWith({ measured: PLENTY });
  const limits = { "ephemeral-storage": "1Mi" };
  node.apply("volume", {
    containers: [{ name: "a", image }],
    volumes: [{ name: "v", emptyDir: { sizeLimit: "1Mi" } }],
  });
  node.apply("logs", { containers: [{ name: "b", image, resources: { limits } }] });
  const small = node.apply("small", { containers: [{ name: "c", image, resources: { limits } }] });
  const uidOf = (name: string): string => node.pod(name).metadata?.uid ?? "";
  for (const name of ["volume", "logs", "small"]) await node.when(name, isRunning);
  const volume = join(node.directory, "kubelet/pods", uidOf("volume"), "volumes/kubernetes.io~empty-dir/v");
  await writeFile(join(volume, "big"), Buffer.alloc(2 * MIB, 1));
  const logs = join(node.directory, "logs", `default_logs_${uidOf("logs")}`, "b");
  await mkdir(logs, { recursive: true });
  await writeFile(join(logs, "0.log"), Buffer.alloc(2 * MIB, 1));
  const full = await node.when("volume", (pod) => pod.status?.reason === "Evicted");
  assert.equal(full.status?.message, 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". ');
  const noisy = await node.when("logs", (pod) => pod.status?.reason === "Evicted");
  assert.equal(noisy.status?.message, "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ");
  assert.ok(isRunning(node.pod(small.metadata?.name ?? "")));
});
