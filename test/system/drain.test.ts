// Taking a node out of service with kubectl of this machine (1.32) and Debian's (1.20): cordon, drain, uncordon.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { startApiServer } from "#apiserver";
import type { Node, Pod } from "#k8s";
import { createKubeClient, kubeconfig, kubePath, openPki, startInformer } from "#wire";
import { silent } from "#base";
import { debianKubectl } from "../support/kubectl.ts";

const clients = [
  { name: "kubectl 1.32", program: "/usr/bin/kubectl", minor: 32 },
  { name: "kubectl 1.20 of Debian", program: debianKubectl(), minor: 20 },
];

for (const { name, program, minor } of clients)
  describe(name, async () => {
    const dir = await mkdtemp(join(tmpdir(), "orlop-drain-"));
    const pki = await openPki(join(dir, "pki"));
    const server = await startApiServer({ dataDir: dir, pki });
    const credential = await pki.clientCertificate({ commonName: "admin", organizations: ["system:masters"] });
    const client = createKubeClient({ server: server.url, ca: pki.ca, ...credential });
    await writeFile(join(dir, "config"), kubeconfig({ server: server.url, ca: pki.ca, ...credential, name: "test" }));

    /** The Pods that were asked to end with their grace. */
    const ended: string[] = [];
    // What a kubelet does for a Pod that ends.
    const informer = startInformer<Pod>({
      client,
      path: kubePath("v1", "pods"),
      log: silent,
      onChange({ metadata }) {
        if (metadata?.deletionTimestamp === undefined) return;
        ended.push(`${metadata.name} ${metadata.deletionGracePeriodSeconds}`);
        const path = kubePath("v1", "pods", { namespace: "default", name: metadata.name ?? "" });
        void client.delete(path, { gracePeriodSeconds: 0 }).catch(() => undefined);
      },
      onDelete: () => undefined,
    });
    after(async () => {
      await informer[Symbol.asyncDispose]();
      client[Symbol.dispose]();
      await server[Symbol.asyncDispose]();
      await rm(dir, { recursive: true, force: true });
    });
    for (const node of ["n1", "n2"])
      await client.create(kubePath("v1", "nodes"), { apiVersion: "v1", kind: "Node", metadata: { name: node } });
    const pod = async (podName: string, nodeName: string, more: object = {}): Promise<void> => {
      const spec = { nodeName, terminationGracePeriodSeconds: 7, containers: [{ name: "c", image: "busybox:1" }] };
      const metadata = { name: podName, ...more };
      await client.create(kubePath("v1", "pods", { namespace: "default" }), { metadata, spec });
    };

    const kubectl = (...args: readonly string[]): Promise<{ code: number; out: string }> =>
      new Promise((resolve) => {
        const flags = [`--kubeconfig=${join(dir, "config")}`, `--cache-dir=${join(dir, "cache")}`];
        const options = { env: { PATH: process.env["PATH"], HOME: dir }, timeout: 60_000 };
        execFile(program, [...flags, ...args], options, (error, out, err) =>
          resolve({ code: typeof error?.code === "number" ? error.code : error === null ? 0 : 1, out: out + err }),
        );
      });
    const ok = async (...args: readonly string[]): Promise<string> => {
      const { code, out } = await kubectl(...args);
      assert.equal(code, 0, `kubectl ${args.join(" ")}: ${out}`);
      return out;
    };

    test("cordon shows, and uncordon undoes it", async () => {
      assert.match(await ok("cordon", "n1"), /^node\/n1 cordoned/);
      assert.match(await ok("get", "node", "n1"), /SchedulingDisabled/);
      assert.match(await ok("describe", "node", "n1"), /node\.kubernetes\.io\/unschedulable:NoSchedule/);
      assert.match(await ok("uncordon", "n1"), /^node\/n1 uncordoned/);
      const node = await client.get<Node>(kubePath("v1", "nodes", { name: "n1" }));
      assert.equal(node.spec?.unschedulable, undefined);
    });

    test("drain evicts what is on the node, and nothing else", async () => {
      await pod("one", "n1");
      await pod("two", "n1");
      await pod("mirror", "n1", { annotations: { "kubernetes.io/config.mirror": "x" } });
      await pod("elsewhere", "n2");
      const refused = await kubectl("drain", "n1", "--ignore-daemonsets");
      assert.equal(refused.code, 1);
      assert.match(refused.out, /cannot delete Pods .*(not managed by|declare no controller)/i);
      // An old kubectl lists custom resources before a dry run, and there are none.
      if (minor >= 32) await ok("drain", "n1", "--ignore-daemonsets", "--force", "--dry-run=server", "--timeout=30s");
      assert.deepEqual(ended, [], "a dry run evicts nothing");
      const out = await ok("drain", "n1", "--ignore-daemonsets", "--force", "--timeout=30s");
      for (const gone of ["one", "two"]) {
        assert.match(out, new RegExp(`evicting pod default/${gone}`));
        assert.match(out, new RegExp(`pod/${gone} evicted`));
      }
      assert.match(out, /node\/n1 (drained|evicted)/);
      assert.deepEqual(new Set(ended), new Set(["one 7", "two 7"]));
      const left = await client.list<Pod>(kubePath("v1", "pods"));
      assert.deepEqual(new Set(left.items.map(({ metadata }) => metadata?.name)), new Set(["elsewhere", "mirror"]));
    });

    test("drain keeps to the grace that it is given", async () => {
      await pod("three", "n2");
      ended.length = 0;
      await ok("drain", "n2", "--force", "--grace-period=3", "--pod-selector=!none", "--timeout=30s");
      assert.ok(ended.includes("three 3"), ended.join(", "));
    });
  });
