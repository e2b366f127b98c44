import assert from "node:assert/strict";
import { test } from "node:test";
import type { Node, Pod } from "#k8s";
import { startNode, type TestNode } from "./testing/node.ts";

const readyOf = (object: Node | Pod | undefined): string | undefined =>
  object?.status?.conditions?.find(({ type }) => type === "Ready")?.status;

/** Says of a Node or a Pod what a cluster says that has heard nothing of it. */
function setReady(node: TestNode, resource: string, namespace: string, name: string, status: string): void {
  const object = node.api.read(resource, namespace, name) as Node;
  const conditions = object.status?.conditions?.map((one) => (one.type === "Ready" ? { ...one, status } : one)) ?? [];
  node.api.put<Node>(resource, { ...object, status: { ...object.status, conditions } });
}

test("a node that was given up says again that it is there, and so does a Pod of it", async () => {
  await using node = await startNode();
  node.apply("web", { containers: [{ name: "a", image: "quay.io/x:1" }] });
  await node.when("web", (pod) => readyOf(pod) === "True");
  const found = (): Node | undefined => node.api.read("nodes", "", "node") as Node | undefined;
  await node.api.until(() => readyOf(found()) === "True");

  setReady(node, "nodes", "", "node", "Unknown");
  assert.equal(readyOf(found()), "Unknown");
  await node.api.until(() => readyOf(found()) === "True");

  setReady(node, "pods", "default", "web", "False");
  assert.equal(readyOf(node.pod("web")), "False");
  await node.when("web", (pod) => readyOf(pod) === "True");
});

test("a node that was removed registers again", async () => {
  await using node = await startNode();
  const before = await node.api.until(() => node.api.read("nodes", "", "node"));
  node.api.drop("nodes", "", "node", 0);
  const after = await node.api.until(() => node.api.read("nodes", "", "node"));
  assert.notEqual(after.metadata?.uid, before.metadata?.uid);
});
