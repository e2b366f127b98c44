import assert from "node:assert/strict";
import { test } from "node:test";
import { statusOf } from "./pod.ts";
import { isRunning, startNode, type TestNode } from "./testing/node.ts";

const image = "busybox:1";
const starts = (node: TestNode): string[] =>
  node.runtime.calls.filter((call) => call.startsWith("startContainer")).map((call) => call.slice(15));

test("a kubelet that comes back takes over what runs and starts nothing twice", async () => {
  await using node = await startNode();
  node.apply("web", {
    containers: [{ name: "a", image, volumeMounts: [{ name: "v", mountPath: "/v" }] }],
    volumes: [{ name: "v", image: { reference: "quay.io/crio/artifact:latest", pullPolicy: "Always" } }],
  });
  node.runtime.onPull = (reference) => ({ id: `sha256:${reference}-1` });
  await node.when("web", (pod) => isRunning(pod, "a"));
  await node.restart();
  node.apply("other", { containers: [{ name: "b", image }] });
  await node.when("other", (pod) => isRunning(pod, "b"));
  assert.deepEqual(starts(node), ["a", "b"]);
  assert.equal(node.runtime.pulls.filter((pull) => pull.image?.image?.includes("artifact")).length, 1);

  // The tag moves on; the Pod's containers still see what its first one saw.
  node.runtime.onPull = (reference) => ({ id: `sha256:${reference}-2` });
  node.runtime.exit("a", 1);
  await node.when("web", (pod) => statusOf(pod, "a")?.restartCount === 1 && isRunning(pod, "a"));
  const volumes = node.runtime.created
    .filter(({ config }) => config?.metadata?.name === "a")
    .map(({ config }) => config?.mounts?.find((mount) => mount.image)?.image?.image);
  assert.deepEqual(volumes, ["sha256:quay.io/crio/artifact:latest-1", "sha256:quay.io/crio/artifact:latest-1"]);
});

test("a container that was created and never started is started, not counted as a restart", async () => {
  await using node = await startNode();
  const start = node.runtime.startContainer;
  let crashed = false;
  Object.assign(node.runtime, {
    startContainer: async (...args: Parameters<typeof start>) => {
      if (crashed) return await start(...args);
      crashed = true;
      throw new Error("the kubelet died here");
    },
  });
  node.apply("web", { containers: [{ name: "a", image }] });
  const pod = await node.when("web", (pod) => isRunning(pod, "a"));
  assert.equal(statusOf(pod, "a")?.restartCount, 0);
  assert.equal(node.runtime.containers.size, 1);
});

test("restarts back off, doubling, and the status says how long", async () => {
  await using node = await startNode({ crashLoopBackOff: { initial: 10_000, max: 300_000 } });
  const { metadata } = node.apply("crash", { containers: [{ name: "a", image }] });
  await node.when("crash", (pod) => isRunning(pod, "a"));
  node.runtime.exit("a", 3);
  // The first restart is immediate.
  await node.when("crash", (pod) => statusOf(pod, "a")?.restartCount === 1 && isRunning(pod, "a"));
  node.runtime.exit("a", 3);
  const pod = await node.when("crash", (pod) => statusOf(pod, "a")?.state?.waiting?.reason === "CrashLoopBackOff");
  const where = `crash_default(${metadata?.uid})`;
  assert.equal(statusOf(pod, "a")?.state?.waiting?.message, `back-off 10s restarting failed container=a pod=${where}`);
  assert.equal(statusOf(pod, "a")?.lastState?.terminated?.exitCode, 3);
  assert.equal(pod.status?.phase, "Running");
  await node.event("crash", "BackOff", `Back-off restarting failed container a in pod ${where}`);
});

test("a Pod that never restarts ends as its containers do", async () => {
  await using node = await startNode();
  node.apply("good", { restartPolicy: "Never", containers: [{ name: "a", image }] });
  node.apply("bad", {
    restartPolicy: "Never",
    containers: [
      { name: "b", image },
      { name: "c", image },
    ],
  });
  await node.when("good", (pod) => isRunning(pod, "a"));
  await node.when("bad", (pod) => isRunning(pod, "b") && isRunning(pod, "c"));
  node.runtime.exit("a", 0);
  node.runtime.exit("b", 0);
  node.runtime.exit("c", 2);
  const good = await node.when("good", (pod) => pod.status?.phase === "Succeeded");
  assert.equal(good.status?.conditions?.find(({ type }) => type === "Ready")?.reason, "PodCompleted");
  const bad = await node.when("bad", (pod) => pod.status?.phase === "Failed");
  assert.equal(statusOf(bad, "c")?.state?.terminated?.exitCode, 2);
  assert.equal(statusOf(bad, "c")?.state?.terminated?.reason, "Error");
});

test("init containers run one after the other, sidecars stay, and then the others start", async () => {
  await using node = await startNode();
  node.apply("init", {
    initContainers: [
      { name: "one", image },
      { name: "side", image, restartPolicy: "Always" },
      { name: "two", image },
    ],
    containers: [{ name: "app", image }],
  });
  const waiting = await node.when("init", (pod) => isRunning(pod, "one"));
  assert.equal(statusOf(waiting, "app")?.state?.waiting?.reason, "PodInitializing");
  assert.equal(waiting.status?.phase, "Pending");
  node.runtime.exit("one", 0);
  await node.when("init", (pod) => isRunning(pod, "two"));
  assert.deepEqual(starts(node), ["one", "side", "two"]);
  node.runtime.exit("two", 0);
  const pod = await node.when("init", (pod) =>
    pod.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True"),
  );
  assert.ok(isRunning(pod, "side") && isRunning(pod, "app"));
  assert.deepEqual(starts(node), ["one", "side", "two", "app"]);

  node.api.drop("pods", "default", "init", 5);
  await node.gone("init");
  assert.deepEqual(
    node.runtime.stops.map(({ name }) => name),
    ["app", "side"],
  );
});

test("a sandbox that died is made anew, and its containers with it", async () => {
  await using node = await startNode();
  node.apply("web", { containers: [{ name: "a", image }] });
  await node.when("web", (pod) => isRunning(pod, "a"));
  for (const sandbox of node.runtime.sandboxes.values()) sandbox.ready = false;
  await node.when("web", (pod) => isRunning(pod, "a") && statusOf(pod, "a")?.restartCount === 1);
  await node.event("web", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.");
  assert.equal(node.runtime.running("a").length, 1);
});

test("environment, command and arguments are expanded as Kubernetes does", async () => {
  await using node = await startNode();
  node.api.put("configmaps", {
    metadata: { name: "settings", namespace: "default" },
    data: { COLOR: "blue" },
  });
  node.api.put("secrets", {
    metadata: { name: "login", namespace: "default" },
    data: { password: Buffer.from("hunter2").toString("base64") },
  });
  node.apply(
    "env",
    {
      containers: [
        {
          name: "a",
          image,
          command: ["run", "$(WHO)", "$$(WHO)", "$(NOBODY)"],
          args: ["$(BOTH)"],
          envFrom: [{ prefix: "S_", configMapRef: { name: "settings" } }],
          env: [
            { name: "WHO", value: "me" },
            { name: "BOTH", value: "$(WHO)+$(S_COLOR)" },
            { name: "NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
            { name: "TEAM", valueFrom: { fieldRef: { fieldPath: "metadata.labels['team']" } } },
            { name: "IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } },
            { name: "LIMIT", valueFrom: { resourceFieldRef: { resource: "limits.memory", divisor: "1Mi" } } },
            { name: "KEY", valueFrom: { configMapKeyRef: { name: "settings", key: "COLOR" } } },
            { name: "PASSWORD", valueFrom: { secretKeyRef: { name: "login", key: "password" } } },
            { name: "NONE", valueFrom: { secretKeyRef: { name: "absent", key: "x", optional: true } } },
          ],
          resources: { limits: { memory: "64Mi" } },
        },
      ],
    },
    { labels: { team: "blue" } },
  );
  await node.when("env", (pod) => isRunning(pod, "a"));
  const config = node.runtime.created[0]?.config;
  assert.deepEqual(config?.command, ["run", "me", "$(WHO)", "$(NOBODY)"]);
  assert.deepEqual(config?.args, ["me+blue"]);
  const env = Object.fromEntries(
    (config?.envs ?? []).map(({ key, value }) => [key, Buffer.from(value ?? []).toString()]),
  );
  assert.deepEqual(env, {
    S_COLOR: "blue",
    WHO: "me",
    BOTH: "me+blue",
    NAME: "env",
    TEAM: "blue",
    IP: "10.0.0.7",
    LIMIT: "64",
    KEY: "blue",
    PASSWORD: "hunter2",
  });
});

test("what an environment needs and is not there is said, and mended when it comes", async () => {
  await using node = await startNode();
  node.apply("env", { containers: [{ name: "a", image, envFrom: [{ configMapRef: { name: "settings" } }] }] });
  const pod = await node.when(
    "env",
    (pod) => statusOf(pod, "a")?.state?.waiting?.reason === "CreateContainerConfigError",
  );
  assert.equal(statusOf(pod, "a")?.state?.waiting?.message, 'configmap "settings" not found');
  node.api.put("configmaps", { metadata: { name: "settings", namespace: "default" }, data: { A: "1" } });
  await node.when("env", (pod) => isRunning(pod, "a"));
});

test("a volume of a kind that this node does not have is an Event and a waiting message", async () => {
  await using node = await startNode();
  node.apply("disk", {
    containers: [{ name: "a", image, volumeMounts: [{ name: "d", mountPath: "/d" }] }],
    volumes: [{ name: "d", nfs: { server: "x", path: "/" } }],
  });
  const pod = await node.when("disk", (pod) => statusOf(pod, "a")?.state?.waiting?.message);
  const message = 'MountVolume.SetUp failed for volume "d" : no volume plugin matched: this node has no nfs volumes';
  assert.deepEqual(statusOf(pod, "a")?.state?.waiting, { reason: "ContainerCreating", message });
  await node.event("disk", "FailedMount", message);
});

test("what would weaken or change a Pod if it were ignored is refused, and said", async () => {
  await using node = await startNode();
  node.apply("odd", {
    containers: [{ name: "a", image, resources: { limits: { "nvidia.com/gpu": "1" } } }],
  });
  const message = "this node does not support resource nvidia.com/gpu of container a";
  const pod = await node.when("odd", (pod) => statusOf(pod, "a")?.state?.waiting?.message);
  assert.deepEqual(statusOf(pod, "a")?.state?.waiting, { reason: "ContainerCreating", message });
  await node.event("odd", "FailedCreatePodSandBox", message);
  assert.equal(node.runtime.sandboxes.size, 0);
});

test("a RuntimeClass names the runtime's handler, and one that is not there is waited for", async () => {
  await using node = await startNode();
  node.apply("odd", { runtimeClassName: "kata", containers: [{ name: "a", image }] });
  const message = 'Failed to create pod sandbox: runtimeclass.node.k8s.io "kata" not found';
  await node.event("odd", "FailedCreatePodSandBox", message);
  const handlers: (string | undefined)[] = [];
  const run = node.runtime.runPodSandbox;
  Object.assign(node.runtime, {
    runPodSandbox: async (...args: Parameters<typeof run>) => {
      handlers.push(args[0].runtimeHandler);
      return await run(...args);
    },
  });
  await node.api.create("/apis/node.k8s.io/v1/runtimeclasses", { metadata: { name: "kata" }, handler: "kata-qemu" });
  await node.when("odd", (pod) => isRunning(pod, "a"));
  assert.deepEqual(handlers, ["kata-qemu"]);
});

test("users of its own are refused to a Pod where the runtime has none", async () => {
  await using node = await startNode();
  node.apply("users", { hostUsers: false, containers: [{ name: "a", image }] });
  const message =
    "Failed to create pod sandbox: can't set `spec.hostUsers: false`, runtime does not support user namespaces";
  await node.event("users", "FailedCreatePodSandBox", message);
  await node.when("users", (pod) => statusOf(pod, "a")?.state?.waiting?.message === message);
  assert.equal(node.runtime.sandboxes.size, 0);
});

test("the pull secrets of a Pod are tried from the most specific on, and a missing one is told", async () => {
  await using node = await startNode();
  const login = (user: string): string => Buffer.from(`${user}:pw`).toString("base64");
  const auths = {
    "quay.io": { auth: login("host") },
    "quay.io/team": { auth: login("team") },
    "docker.io": { auth: login("no") },
  };
  const secret = {
    type: "kubernetes.io/dockerconfigjson",
    data: { ".dockerconfigjson": Buffer.from(JSON.stringify({ auths })).toString("base64") },
  };
  node.api.put("secrets", { metadata: { name: "keys", namespace: "default" }, ...secret });
  node.runtime.onPull = (_, { auth }) => {
    if (auth?.username === "host") return { id: "sha256:private" };
    throw new Error("denied");
  };
  node.apply("private", {
    imagePullSecrets: [{ name: "absent" }, { name: "keys" }],
    containers: [{ name: "a", image: "quay.io/team/app:1" }],
  });
  await node.when("private", (pod) => isRunning(pod, "a"));
  assert.deepEqual(
    node.runtime.pulls.map(({ auth }) => auth?.username),
    ["team", "host"],
  );
  await node.event(
    "private",
    "FailedToRetrieveImagePullSecret",
    "Unable to retrieve some image pull secrets (absent); attempting to pull the image may not succeed.",
  );
});
