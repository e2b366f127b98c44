import assert from "node:assert/strict";
import { test } from "node:test";
import { silent } from "#base";
import type { Node, Pod, PodSpec } from "#k8s";
import { startScheduler } from "#scheduler";
import { fakeApi } from "../kubelet/testing/fake-api.ts";

async function cluster() {
  const api = fakeApi();
  const node = (name: string, more: Partial<Node> = {}, ready = "True"): Node =>
    api.put<Node>("nodes", {
      apiVersion: "v1",
      kind: "Node",
      metadata: { name, labels: { "kubernetes.io/hostname": name } },
      spec: {},
      status: { conditions: [{ type: "Ready", status: ready }], allocatable: { cpu: "2", memory: "1Gi", pods: "10" } },
      ...more,
    });
  const pod = (name: string, spec: Partial<PodSpec> = {}): Pod =>
    api.put<Pod>("pods", {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, namespace: "default" },
      spec: { containers: [{ name: "a", image: "busybox" }], ...spec },
    });
  const read = (name: string): Pod | undefined => api.read("pods", "default", name) as Pod | undefined;
  const scheduler = await startScheduler({ api, log: silent });
  return {
    api,
    node,
    pod,
    bound: (name: string): Promise<string> => api.until(() => read(name)?.spec?.nodeName),
    /** The message that a Pod which fits nowhere waits with. */
    refused: (name: string, pattern = /./): Promise<string> =>
      api.until(() => {
        const condition = read(name)?.status?.conditions?.find(({ type }) => type === "PodScheduled");
        return condition?.status === "False" && pattern.test(condition.message ?? "") ? condition.message : undefined;
      }),
    [Symbol.asyncDispose]: () => scheduler[Symbol.asyncDispose](),
  };
}

test("a Pod is bound to the Ready node with the fewest Pods, and told so", async () => {
  await using at = await cluster();
  at.node("down", {}, "False");
  at.node("busy");
  at.pod("first", { nodeName: "busy" });
  at.node("idle");
  at.pod("second");
  assert.equal(await at.bound("second"), "idle");
  const event = await at.api.until(() => at.api.events("second").find(({ reason }) => reason === "Scheduled"));
  assert.equal(event.message, "Successfully assigned default/second to idle");
});

test("a Pod that fits nowhere says why, once, and is bound when something changes", async () => {
  await using at = await cluster();
  at.pod("early");
  assert.equal(await at.refused("early"), "no nodes available to schedule pods");
  at.node("tainted", { spec: { taints: [{ key: "gpu", value: "yes", effect: "NoSchedule" }] } });
  at.node("other");
  assert.equal(await at.bound("early"), "other");

  at.pod("picky", { nodeSelector: { disk: "ssd" } });
  assert.equal(
    await at.refused("picky"),
    "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.",
  );
  const failed = () => at.api.events("picky").filter(({ reason }) => reason === "FailedScheduling");
  assert.equal(failed().length, 1);
  at.node("other", { metadata: { name: "other", labels: { disk: "ssd" } } });
  assert.equal(await at.bound("picky"), "other");
});

test("taints keep away who does not tolerate them", async () => {
  await using at = await cluster();
  at.node("gpu", { spec: { taints: [{ key: "gpu", value: "yes", effect: "NoSchedule" }] } });
  at.pod("plain");
  assert.match(await at.refused("plain"), /untolerated taint \{gpu: yes\}/);
  at.pod("wrong", { tolerations: [{ key: "gpu", value: "no" }] });
  assert.match(await at.refused("wrong"), /untolerated taint/);
  at.pod("same", { tolerations: [{ key: "gpu", value: "yes", effect: "NoSchedule" }] });
  assert.equal(await at.bound("same"), "gpu");
  at.pod("any", { tolerations: [{ operator: "Exists" }] });
  assert.equal(await at.bound("any"), "gpu");
});

test("requests are added up, and the end of a Pod makes room", async () => {
  await using at = await cluster();
  at.node("small");
  const hungry = (cpu: string): Partial<PodSpec> => ({
    containers: [{ name: "a", image: "busybox", resources: { requests: { cpu } } }],
  });
  at.pod("one", hungry("1500m"));
  await at.bound("one");
  at.pod("two", hungry("600m"));
  assert.equal(await at.refused("two"), "0/1 nodes are available: 1 Insufficient cpu.");
  at.api.drop("pods", "default", "one", 0);
  assert.equal(await at.bound("two"), "small");
});

test("sidecars, overhead and what a whole Pod requests take room too", async () => {
  await using at = await cluster();
  at.node("small");
  const asks = (name: string, cpu: string) => ({ name, image: "busybox", resources: { requests: { cpu } } });
  const containers = [asks("a", "1500m")];
  at.pod("sidecar", { containers, initContainers: [{ ...asks("s", "600m"), restartPolicy: "Always" }] });
  at.pod("heavy", { containers, overhead: { cpu: "600m" } });
  at.pod("whole", { containers: [asks("a", "100m")], resources: { requests: { cpu: "2100m" } } });
  for (const name of ["sidecar", "heavy", "whole"]) assert.match(await at.refused(name), /1 Insufficient cpu\.$/);
  at.pod("light", { containers });
  assert.equal(await at.bound("light"), "small");
});

test("required node affinity and cordons are kept", async () => {
  await using at = await cluster();
  at.node("cordoned", { spec: { unschedulable: true } });
  at.node("plain");
  const affinity = (operator: string, values: string[]): Partial<PodSpec> => ({
    affinity: {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [{ matchExpressions: [{ key: "kubernetes.io/hostname", operator, values }] }],
        },
      },
    },
  });
  at.pod("in", affinity("In", ["plain"]));
  assert.equal(await at.bound("in"), "plain");
  at.pod("out", affinity("NotIn", ["plain"]));
  assert.match(await at.refused("out"), /1 node\(s\) didn't match .*, 1 node\(s\) were unschedulable/);
});
