import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import https from "node:https";
import { join } from "node:path";
import { test } from "node:test";
import { openPki } from "#wire";
import { parseNetDev } from "./net-dev.ts";
import { ProcessorRates } from "./processor-rate.ts";
import { startNode, type TestNode } from "./testing/node.ts";

const MIB = 1 << 20;

async function get(node: TestNode, path: string): Promise<string> {
  const pki = await openPki(join(node.directory, "pki"));
  const credential = await pki.clientCertificate({ commonName: "admin", organizations: ["system:masters"] });
  const options = {
    host: "127.0.0.1",
    port: node.kubelet.port,
    ca: pki.ca,
    ...credential,
    agent: false as const,
    path,
  };
  return await new Promise((resolve, reject) => {
    const call = https.get(options, (response) => {
      let text = "";
      response.on("data", (chunk) => (text += String(chunk)));
      response.on("end", () => resolve(text));
    });
    call.on("error", reject);
  });
}

/** A node with one Pod of two containers, each of which used two seconds of a core and 16 MiB. */
async function measured(): Promise<TestNode> {
  const measure = async () => ({
    "memory.available": { available: 300 * MIB, capacity: 1000 * MIB },
    "nodefs.available": { available: 4000, capacity: 10_000 },
    "nodefs.inodesFree": { available: 40, capacity: 100 },
    "imagefs.available": { available: 5000, capacity: 10_000 },
    "pid.available": { available: 900, capacity: 1000 },
  });
  const node = await startNode({}, (api) => api, { measure });
  const stats = (): object[] =>
    [...node.runtime.containers.values()].map(({ request }) => ({
      attributes: { labels: request.config?.labels ?? {}, metadata: { attempt: 0 } },
      cpu: { usageCoreNanoSeconds: { value: 2_000_000_000n } },
      memory: { workingSetBytes: { value: BigInt(16 * MIB) } },
      writableLayer: { usedBytes: { value: 4096n }, inodesUsed: { value: 3n } },
    }));
  const statusOf = node.runtime.podSandboxStatus;
  Object.assign(node.runtime, {
    listContainerStats: async () => ({ stats: stats() }),
    // This process stands for the sandbox's.
    podSandboxStatus: async (...args: Parameters<typeof statusOf>) => ({
      ...(await statusOf(...args)),
      info: { info: JSON.stringify({ pid: process.pid }) },
    }),
  });
  const container = (name: string) => ({ name, image: "busybox:1" });
  const { metadata } = node.apply("web", {
    containers: [container("a"), container("b")],
    volumes: [{ name: "v", emptyDir: {} }],
  });
  await node.when("web", (pod) => pod.status?.phase === "Running");
  const uid = metadata?.uid ?? "";
  await writeFile(
    join(node.directory, "kubelet/pods", uid, "volumes/kubernetes.io~empty-dir/v/file"),
    Buffer.alloc(8192, 1),
  );
  const logs = join(node.directory, "logs", `default_web_${uid}`, "a");
  await mkdir(logs, { recursive: true });
  await writeFile(join(logs, "0.log"), Buffer.alloc(8192, 1));
  return node;
}

interface Summary {
  readonly node: Record<string, Record<string, number>>;
  readonly pods: readonly {
    readonly podRef: { readonly name: string };
    readonly cpu: Record<string, number>;
    readonly memory: Record<string, number>;
    readonly network: { readonly interfaces: readonly object[] };
    readonly volume: readonly Record<string, unknown>[];
    readonly "ephemeral-storage": Record<string, number>;
    readonly containers: readonly { readonly name: string; readonly logs: Record<string, number> }[];
  }[];
}

test("/stats/summary counts the node, each Pod as the sum of its containers, its disk and its network", async () => {
  await using node = await measured();
  const { node: own, pods } = JSON.parse(await get(node, "/stats/summary")) as Summary;
  assert.equal(own["memory"]?.["workingSetBytes"], 700 * MIB);
  assert.equal(own["fs"]?.["usedBytes"], 6000);
  assert.equal(own["fs"]?.["inodesUsed"], 60);
  assert.equal(own["rlimit"]?.["curproc"], 100);
  assert.ok((own["cpu"]?.["usageCoreNanoSeconds"] ?? 0) > 0);
  const [pod] = pods;
  assert.equal(pod?.podRef.name, "web");
  assert.equal(pod.cpu["usageCoreNanoSeconds"], 4_000_000_000);
  assert.equal(pod.memory["workingSetBytes"], 32 * MIB);
  assert.equal(pod.volume[0]?.["name"], "v");
  const volume = Number(pod.volume[0]["usedBytes"]);
  const logs = pod.containers.find(({ name }) => name === "a")?.logs["usedBytes"] ?? 0;
  assert.ok(volume >= 8192 && logs >= 8192);
  assert.equal(pod["ephemeral-storage"]["capacityBytes"], 10_000);
  assert.ok((pod["ephemeral-storage"]["usedBytes"] ?? 0) >= volume + logs + 2 * 4096);
  assert.ok(Array.isArray(pod.network.interfaces));
});

test("/metrics/resource says what metrics-server reads", async () => {
  await using node = await measured();
  const text = await get(node, "/metrics/resource");
  assert.match(text, /^container_cpu_usage_seconds_total\{container="a",namespace="default",pod="web"\} 2$/m);
  assert.match(text, new RegExp(`^pod_memory_working_set_bytes\\{namespace="default",pod="web"\\} ${32 * MIB}$`, "m"));
  assert.match(text, new RegExp(`^node_memory_working_set_bytes ${700 * MIB}$`, "m"));
  assert.match(text, /^node_cpu_usage_seconds_total [\d.]+$/m);
  assert.match(await get(node, "/metrics/probes"), /404 page not found/);
});

test("a rate needs two looks that are far enough apart, and starts anew with the container", () => {
  const rates = new ProcessorRates(1000);
  assert.equal(rates.of("a", 0, 1_000_000_000), undefined);
  assert.equal(rates.of("a", 500, 1_400_000_000), undefined);
  assert.equal(rates.of("a", 2000, 2_000_000_000), 500_000_000);
  assert.equal(rates.of("a", 2100, 2_900_000_000), 500_000_000);
  assert.equal(rates.of("a", 4000, 5), undefined);
  rates.keep(new Set());
  assert.equal(rates.of("a", 9000, 10), undefined);
});

test("interfaces are read as the kernel lists them", () => {
  const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:      10       1    0    0    0     0          0         0       10       1    0    0    0     0       0          0
  eth0:1218       15    2    0    0     0          0         0     1076      14    3    0    0     0       0          0
`;
  assert.deepEqual(parseNetDev(text)[1], { name: "eth0", rxBytes: 1218, rxErrors: 2, txBytes: 1076, txErrors: 3 });
});
