import assert from "node:assert/strict";
import { test } from "node:test";
import type { ContainerStatus, Pod } from "#k8s";
import { statusOf } from "./pod.ts";
import { isRunning, startNode, type TestNode } from "./testing/node.ts";

const image = "busybox:1";
const all = (pod: Pod): ContainerStatus[] => [
  ...(pod.status?.initContainerStatuses ?? []),
  ...(pod.status?.containerStatuses ?? []),
  ...(pod.status?.ephemeralContainerStatuses ?? []),
];

/** As when all processes died and the run directory was cleared: the runtime knows nothing any more. */
async function reboot(node: TestNode): Promise<void> {
  await node.kubelet[Symbol.asyncDispose]();
  node.runtime.containers.clear();
  node.runtime.sandboxes.clear();
  await node.restart();
}

test("containers are listed by name, init containers in their order", async () => {
  await using node = await startNode();
  node.apply("web", {
    initContainers: [
      { name: "z-first", image, restartPolicy: "Always" },
      { name: "a-second", image, restartPolicy: "Always" },
    ],
    containers: ["c", "a", "b"].map((name) => ({ name, image })),
  });
  const pod = await node.when("web", (pod) => ["a", "b", "c"].every((name) => isRunning(pod, name)));
  assert.deepEqual(
    all(pod).map(({ name }) => name),
    ["z-first", "a-second", "a", "b", "c"],
  );
});

test("what a container was given is told also when it has ended", async () => {
  await using node = await startNode();
  const resources = { requests: { cpu: "10m", memory: "8Mi" }, limits: { memory: "16Mi" } };
  node.apply("job", { restartPolicy: "Never", containers: [{ name: "a", image, resources }] });
  const running = await node.when("job", (pod) => isRunning(pod, "a"));
  node.runtime.exit("a", 0);
  const ended = await node.when("job", (pod) => pod.status?.phase === "Succeeded");
  for (const pod of [running, ended]) {
    assert.deepEqual(statusOf(pod, "a")?.resources, resources);
    assert.deepEqual(statusOf(pod, "a")?.allocatedResources, resources.requests);
  }
});

test("an ephemeral container is neither ready nor started", async () => {
  await using node = await startNode();
  node.apply("web", {
    containers: [{ name: "a", image }],
    ephemeralContainers: [{ name: "debug", image, targetContainerName: "a" }],
  });
  const pod = await node.when("web", (pod) => isRunning(pod, "debug"));
  const { ready, started } = statusOf(pod, "debug") ?? {};
  assert.deepEqual({ ready, started }, { ready: false, started: undefined });
});

test("with init containers all that waits is initializing", async () => {
  await using node = await startNode();
  node.apply("web", {
    initContainers: ["one", "two"].map((name) => ({ name, image })),
    containers: [{ name: "a", image }],
  });
  const pod = await node.when("web", (pod) => isRunning(pod, "one"));
  for (const name of ["two", "a"]) assert.equal(statusOf(pod, name)?.state?.waiting?.reason, "PodInitializing");
});

test("a mount that is read-only says whether that is so below it too", async () => {
  await using node = await startNode();
  const mount = (name: string, more: object) => ({ name, mountPath: `/${name}`, ...more });
  node.apply("web", {
    containers: [
      {
        name: "a",
        image,
        volumeMounts: [
          mount("dir", { readOnly: true, recursiveReadOnly: "IfPossible" }),
          mount("image", { readOnly: true, recursiveReadOnly: "Enabled" }),
          mount("plain", {}),
        ],
      },
      { name: "b", image, volumeMounts: [mount("dir", { readOnly: true, recursiveReadOnly: "Enabled" })] },
    ],
    volumes: [
      { name: "dir", emptyDir: {} },
      { name: "plain", emptyDir: {} },
      { name: "image", image: { reference: "quay.io/x:1" } },
    ],
  });
  const pod = await node.when("web", (pod) => isRunning(pod, "a") && statusOf(pod, "b")?.state?.waiting?.message);
  assert.deepEqual(
    statusOf(pod, "a")?.volumeMounts?.map(({ readOnly, recursiveReadOnly }) => [readOnly, recursiveReadOnly]),
    [
      [true, "Disabled"],
      [true, "Enabled"],
      [undefined, undefined],
    ],
  );
  assert.deepEqual(statusOf(pod, "b")?.state?.waiting, {
    reason: "CreateContainerConfigError",
    message: 'volume "dir" requested recursive read-only mode, but it is not supported by the runtime',
  });
});

test("gates of readiness are told one by one, in upstream's words", async () => {
  await using node = await startNode();
  const gates = ["example.com/absent", "example.com/unset"].map((conditionType) => ({ conditionType }));
  const pod = node.apply("web", { readinessGates: gates, containers: [{ name: "a", image }] });
  const condition = { type: "example.com/unset", status: "Unknown" };
  node.api.put("pods", { ...pod, status: { conditions: [condition] } });
  const ready = (pod: Pod) => pod.status?.conditions?.find(({ type }) => type === "Ready");
  const seen = await node.when("web", (pod) => ready(pod)?.reason === "ReadinessGatesNotReady");
  assert.equal(
    ready(seen)?.message,
    'corresponding condition of pod readiness gate "example.com/absent" does not exist., ' +
      'the status of pod readiness gate "example.com/unset" is not "True", but Unknown',
  );
});

test("what ran and is gone without a trace is told as such, and the Pod stays Running", async () => {
  await using node = await startNode();
  node.apply("web", { containers: [{ name: "a", image }] });
  const before = await node.when("web", (pod) => isRunning(pod, "a"));
  const phases = new Set<string | undefined>();
  const pull = Promise.withResolvers<void>();
  node.runtime.images.clear();
  node.runtime.onPull = async () => {
    await pull.promise;
    return { id: "sha256:x" };
  };
  await reboot(node);
  const lost = await node.when("web", (pod) => {
    phases.add(pod.status?.phase);
    return statusOf(pod, "a")?.lastState?.terminated;
  });
  assert.deepEqual(statusOf(lost, "a")?.lastState?.terminated, {
    reason: "ContainerStatusUnknown",
    message: "The container could not be located when the pod was deleted.  The container used to be Running",
    exitCode: 137,
  });
  assert.equal(statusOf(lost, "a")?.restartCount, 1);
  pull.resolve();
  const again = await node.when("web", (pod) => isRunning(pod, "a"));
  assert.notEqual(statusOf(again, "a")?.containerID, statusOf(before, "a")?.containerID);
  assert.equal(statusOf(again, "a")?.restartCount, 1);
  assert.deepEqual([...phases], ["Running"]);
});

test("a container's own restart policy and rules go before its Pod's", async () => {
  await using node = await startNode();
  const rule = { action: "Restart", exitCodes: { operator: "In", values: [42] } };
  node.apply("job", {
    restartPolicy: "Never",
    containers: [
      { name: "main", image },
      { name: "rules", image, restartPolicy: "Never", restartPolicyRules: [rule] },
      { name: "failing", image, restartPolicy: "OnFailure" },
    ],
  });
  await node.when("job", (pod) => ["main", "rules", "failing"].every((name) => isRunning(pod, name)));
  node.runtime.exit("rules", 42);
  node.runtime.exit("failing", 1);
  const restarted = (pod: Pod, name: string) => isRunning(pod, name) && statusOf(pod, name)?.restartCount === 1;
  await node.when("job", (pod) => restarted(pod, "rules") && restarted(pod, "failing"));
  node.runtime.exit("main", 0);
  node.runtime.exit("failing", 0);
  const one = await node.when("job", (pod) => statusOf(pod, "failing")?.state?.terminated);
  assert.equal(one.status?.phase, "Running");
  node.runtime.exit("rules", 1);
  const pod = await node.when("job", (pod) => pod.status?.phase === "Failed");
  assert.equal(statusOf(pod, "rules")?.state?.terminated?.exitCode, 1);
});

test("a container that must not run again fails a Pod whose others would", async () => {
  await using node = await startNode();
  node.apply("job", { containers: [{ name: "once", image, restartPolicy: "Never" }] });
  await node.when("job", (pod) => isRunning(pod, "once"));
  node.runtime.exit("once", 3);
  const pod = await node.when("job", (pod) => pod.status?.phase === "Failed");
  assert.equal(statusOf(pod, "once")?.restartCount, 0);
});

test("a rule that would restart the whole Pod is refused, not ignored", async () => {
  await using node = await startNode();
  const rule = { action: "RestartAllContainers", exitCodes: { operator: "In", values: [42] } };
  node.apply("job", {
    containers: [{ name: "a", image, restartPolicy: "Never", restartPolicyRules: [rule] }],
  });
  const message = "this node does not support restartPolicyRules with RestartAllContainers of container a";
  await node.event("job", "FailedCreatePodSandBox", message);
  assert.equal(node.runtime.created.length, 0);
});

test("between two tries a container's state does not flicker", async () => {
  await using node = await startNode({ retryPeriod: 10 });
  node.runtime.onCreate = () => {
    throw new Error("no room");
  };
  node.apply("web", { containers: [{ name: "a", image, imagePullPolicy: "Always" }] });
  await node.when("web", (pod) => statusOf(pod, "a")?.state?.waiting?.reason === "CreateContainerError");
  const reasons = new Set<string | undefined>();
  await node.api.until(() => {
    reasons.add(statusOf(node.pod("web"), "a")?.state?.waiting?.reason);
    return node.runtime.created.length > 5;
  });
  assert.deepEqual([...reasons], ["CreateContainerError"]);
});
