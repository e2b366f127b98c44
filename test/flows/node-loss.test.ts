// A kubelet that dies and comes back, between our API server and a runtime in memory.
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { startApiServer } from "#apiserver";
import type { Node, Pod } from "#k8s";
import type { RunningKubelet } from "#kubelet";
import { createKubeClient, kubePath, openPki, type KubeClientOptions } from "#wire";
import { fakeRuntime } from "../../src/kubelet/testing/fake-runtime.ts";
import { startKubeletIn } from "../support/kubelet.ts";

const NODES = kubePath("v1", "nodes");
const PODS = kubePath("v1", "pods", { namespace: "default" });

const readyOf = (object: Node | Pod): string | undefined =>
  object.status?.conditions?.find(({ type }) => type === "Ready")?.status;

test("a node is Unknown and its Pods are not ready while their kubelet is away, and all is well once it is back", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "orlop-node-loss-"));
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => rm(dir, { recursive: true, force: true }));
  const pki = await openPki(join(dir, "pki"));
  const server = cleanup.use(await startApiServer({ dataDir: dir, pki, nodeMonitorGracePeriod: 3000 }));
  const as = async (commonName: string, organization: string): Promise<KubeClientOptions> => {
    const credential = await pki.clientCertificate({ commonName, organizations: [organization] });
    return { server: server.url, ca: pki.ca, ...credential };
  };
  const client = cleanup.use(createKubeClient(await as("admin", "system:masters")));
  const api = await as("system:node:n1", "system:nodes");
  const runtime = fakeRuntime();
  const start = (): Promise<RunningKubelet> =>
    startKubeletIn(dir, pki, {
      api,
      criSocket: runtime,
      nodeName: "n1",
      measure: async () => ({}),
      config: {
        cgroupMountPoint: join(dir, "cgroup"),
        relistPeriod: 50,
        syncFrequency: 1000,
        nodeStatusUpdateFrequency: 500,
        resolvConf: "/dev/null",
      },
    });
  const until = async <T extends Node | Pod>(path: string, name: string, wanted: (one: T) => boolean): Promise<T> => {
    const signal = AbortSignal.any([t.signal, AbortSignal.timeout(30_000)]);
    const query = { fieldSelector: `metadata.name=${name}` };
    for await (const { object } of client.watch<T>(path, query, { signal })) if (wanted(object)) return object;
    throw new Error(`${name} never got there`);
  };

  const first = await start();
  cleanup.defer(() => first[Symbol.asyncDispose]());
  await first.ready;
  await client.create(PODS, {
    metadata: { name: "web" },
    spec: {
      nodeName: "n1",
      containers: [{ name: "a", image: "quay.io/x:1", volumeMounts: [{ name: "t", mountPath: "/t" }] }],
      volumes: [{ name: "t", projected: { sources: [{ serviceAccountToken: { path: "token" } }] } }],
    },
  });
  const { metadata, spec } = await until<Pod>(PODS, "web", (pod) => readyOf(pod) === "True");
  assert.equal(spec?.serviceAccountName, "default");
  const volume = join(dir, "kubelet/pods", metadata?.uid ?? "", "volumes/kubernetes.io~projected/t");
  const [, claims = ""] = (await readFile(join(volume, "token"), "utf8")).split(".");
  const { sub } = JSON.parse(Buffer.from(claims, "base64url").toString()) as { sub: string };
  assert.equal(sub, "system:serviceaccount:default:default");

  await first[Symbol.asyncDispose]();
  const lost = await until<Node>(NODES, "n1", (node) => (node.spec?.taints ?? []).length > 0);
  assert.equal(readyOf(lost), "Unknown");
  await until<Pod>(PODS, "web", (pod) => readyOf(pod) === "False");

  cleanup.use(await start());
  await until<Node>(NODES, "n1", (node) => readyOf(node) === "True" && node.spec?.taints === undefined);
  const back = await until<Pod>(PODS, "web", (pod) => readyOf(pod) === "True");
  assert.equal(back.metadata?.uid, metadata?.uid);
  assert.equal(runtime.created.length, 1, "nothing was started again");
});
