import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { statusOf } from "./pod.ts";
import { isRunning, startNode, type TestNode } from "./testing/node.ts";

const image = "busybox:1";
const starts = (node: TestNode): string[] =>
  node.runtime.calls.filter((call) => call.startsWith("startContainer")).map((call) => call.slice(15));

test("a deleted Pod is stopped within its grace period, removed everywhere, and only then gone", async () => {
  await using node = await startNode();
  const { metadata } = node.apply("web", {
    containers: [
      { name: "a", image },
      { name: "b", image },
    ],
  });
  await node.when("web", (pod) => pod.status?.phase === "Running");
  assert.ok(existsSync(join(node.directory, "kubelet/pods", metadata?.uid ?? "")));
  node.api.drop("pods", "default", "web", 7);
  await node.gone("web");
  assert.deepEqual(
    node.runtime.stops
      .map(({ name, timeout }) => [name, timeout])
      .sort(([a = ""], [b = ""]) => String(a).localeCompare(String(b))),
    [
      ["a", 7],
      ["b", 7],
    ],
  );
  assert.equal(node.runtime.containers.size + node.runtime.sandboxes.size, 0);
  assert.ok(!existsSync(join(node.directory, "kubelet/pods", metadata?.uid ?? "")));
  await node.event("web", "Killing", "Stopping container a");
});

test("a Pod that vanishes from the API is ended all the same", async () => {
  await using node = await startNode();
  node.apply("web", { containers: [{ name: "a", image }] });
  await node.when("web", (pod) => isRunning(pod, "a"));
  node.api.drop("pods", "default", "web", 0);
  await node.runtime.until(() => node.runtime.containers.size + node.runtime.sandboxes.size === 0);
});

test("what a Pod left that was deleted while the kubelet was away is removed", async () => {
  await using node = await startNode();
  node.apply("web", { containers: [{ name: "a", image }] });
  await node.when("web", (pod) => isRunning(pod, "a"));
  await node.kubelet[Symbol.asyncDispose]();
  node.api.drop("pods", "default", "web", 0);
  await node.restart();
  await node.runtime.until(() => node.runtime.containers.size + node.runtime.sandboxes.size === 0);
});

test("hooks of sidecars run when the end begins, and each container ends in its turn", async () => {
  await using node = await startNode();
  const preStop = (word: string) => ({ lifecycle: { preStop: { exec: { command: [word] } } } });
  const slow = Promise.withResolvers<void>();
  node.runtime.onExec = async (cmd) => {
    if (cmd[0] === "bye-app") await slow.promise;
    return { exitCode: 0 };
  };
  node.apply("web", {
    terminationGracePeriodSeconds: 20,
    initContainers: ["one", "two"].map((name) => ({ name, image, restartPolicy: "Always", ...preStop(`bye-${name}`) })),
    containers: [{ name: "app", image, ...preStop("bye-app") }],
  });
  await node.when("web", (pod) => isRunning(pod, "app"));
  node.api.drop("pods", "default", "web", 20);
  const ran = (call: string) => node.runtime.calls.includes(call);
  await node.runtime.until(() => ran("execSync one bye-one") && ran("execSync two bye-two"));
  assert.deepEqual(node.runtime.stops, []);
  slow.resolve();
  await node.gone("web");
  assert.deepEqual(
    node.runtime.stops.map(({ name }) => name),
    ["app", "two", "one"],
  );
});

test("a Pod without a grace period still has two seconds to end", async () => {
  await using node = await startNode();
  node.apply("web", { terminationGracePeriodSeconds: 0, containers: [{ name: "a", image }] });
  await node.when("web", (pod) => isRunning(pod, "a"));
  node.api.drop("pods", "default", "web", 0);
  await node.runtime.until(() => node.runtime.stops.length > 0);
  assert.deepEqual(node.runtime.stops[0], { name: "a", timeout: 2 });
});

test("a deadline ends a Pod", async () => {
  await using node = await startNode();
  node.apply("late", { activeDeadlineSeconds: 0, containers: [{ name: "a", image }] });
  const pod = await node.when("late", (pod) => pod.status?.phase === "Failed");
  assert.equal(pod.status?.reason, "DeadlineExceeded");
  assert.deepEqual(statusOf(pod, "a")?.state?.terminated, {
    reason: "ContainerStatusUnknown",
    message: "The container could not be located when the pod was terminated",
    exitCode: 137,
  });
});

test("a node that stops in order ends its Pods, and goes on with them when it comes back", async () => {
  await using node = await startNode();
  node.apply("web", { containers: [{ name: "a", image }] });
  node.apply("once", { restartPolicy: "Never", containers: [{ name: "b", image }] });
  await node.when("web", (pod) => isRunning(pod, "a"));
  await node.when("once", (pod) => isRunning(pod, "b"));
  await node.kubelet.stopPods();
  assert.equal(node.runtime.containers.size + node.runtime.sandboxes.size, 0);
  assert.equal(node.pod("once").status?.phase, "Failed");
  await node.restart();
  await node.when("web", (pod) => isRunning(pod, "a") && statusOf(pod, "a")?.restartCount === 1);
  assert.deepEqual(starts(node).sort(), ["a", "a", "b"]);
});

test("a second, shorter deletion is not kept waiting by the first", async () => {
  await using node = await startNode();
  node.apply("slow", { containers: [{ name: "a", image }] });
  await node.when("slow", (pod) => isRunning(pod, "a"));
  const stop = node.runtime.stopContainer;
  const patient = Promise.withResolvers<void>();
  Object.assign(node.runtime, {
    stopContainer: async (...args: Parameters<typeof stop>) => {
      // The process ignores SIGTERM; only a shorter timeout kills it.
      if (args[0].timeout === 600n) return await patient.promise.then(() => stop(...args));
      patient.resolve();
      return await stop(...args);
    },
  });
  node.api.drop("pods", "default", "slow", 600);
  await node.event("slow", "Killing");
  node.api.drop("pods", "default", "slow", 1);
  await node.gone("slow");
});
