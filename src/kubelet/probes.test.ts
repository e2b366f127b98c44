import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import type { Pod } from "#k8s";
import { startNode } from "./testing/node.ts";

const image = "busybox:1";
const only = (pod: Pod) => pod.status?.containerStatuses?.[0];

test("a container is ready when its readiness probe says so, and no longer when it does not", async () => {
  await using node = await startNode();
  let healthy = false;
  node.runtime.onExec = () => ({ exitCode: healthy ? 0 : 1, stdout: "not yet" });
  node.apply("web", {
    containers: [
      { name: "a", image, readinessProbe: { exec: { command: ["check"] }, periodSeconds: 0.02, failureThreshold: 1 } },
    ],
  });
  const before = await node.when("web", (pod) => pod.status?.phase === "Running");
  assert.equal(only(before)?.ready, false);
  await node.event("web", "Unhealthy", "Readiness probe failed: not yet");
  healthy = true;
  await node.when("web", (pod) => only(pod)?.ready);
  healthy = false;
  await node.when("web", (pod) => only(pod)?.ready === false);
  assert.equal(only(node.pod("web"))?.restartCount, 0);
});

test("a container whose liveness probe fails is replaced", async () => {
  await using node = await startNode();
  let healthy = true;
  node.runtime.onExec = () => ({ exitCode: healthy ? 0 : 1 });
  node.apply("web", {
    containers: [
      {
        name: "a",
        image,
        livenessProbe: {
          exec: { command: ["check"] },
          periodSeconds: 0.02,
          failureThreshold: 2,
          terminationGracePeriodSeconds: 3,
        },
      },
    ],
  });
  await node.when("web", (pod) => only(pod)?.ready);
  healthy = false;
  await node.event("web", "Killing", "Container a failed liveness probe, will be restarted");
  healthy = true;
  await node.when("web", (pod) => only(pod)?.restartCount === 1 && only(pod)?.ready);
  assert.equal(node.runtime.stops[0]?.timeout, 3);
});

test("nothing counts before the startup probe has succeeded", async () => {
  await using node = await startNode();
  let started = false;
  node.runtime.onExec = (cmd) => ({ exitCode: cmd[0] === "started" && !started ? 1 : 0 });
  node.apply("web", {
    containers: [
      {
        name: "a",
        image,
        startupProbe: { exec: { command: ["started"] }, periodSeconds: 0.02, failureThreshold: 1000 },
        readinessProbe: { exec: { command: ["ready"] }, periodSeconds: 0.02 },
      },
    ],
  });
  const before = await node.when("web", (pod) => pod.status?.phase === "Running");
  assert.deepEqual([only(before)?.started, only(before)?.ready], [false, false]);
  assert.ok(!node.runtime.calls.includes("execSync a ready"));
  started = true;
  await node.when("web", (pod) => only(pod)?.started && only(pod)?.ready);
});

test("HTTP and TCP probes ask the address and port they are told", async () => {
  await using node = await startNode();
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.url} ${String(request.headers["x-probe"])}`);
    response.writeHead(request.url === "/bad" ? 503 : 204).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const { port } = server.address() as AddressInfo;
    const ports = [{ name: "web", containerPort: port }];
    const httpHeaders = [{ name: "X-Probe", value: "yes" }];
    const probe = { periodSeconds: 0.02, failureThreshold: 1 };
    node.apply("probes", {
      containers: [
        {
          name: "good",
          image,
          ports,
          readinessProbe: { ...probe, httpGet: { host: "127.0.0.1", port: "web", path: "/ok", httpHeaders } },
        },
        { name: "bad", image, ports, readinessProbe: { ...probe, httpGet: { host: "127.0.0.1", port, path: "/bad" } } },
        { name: "tcp", image, ports, readinessProbe: { ...probe, tcpSocket: { host: "127.0.0.1", port } } },
      ],
    });
    await node.event("probes", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503");
    const pod = await node.when(
      "probes",
      (pod) => pod.status?.containerStatuses?.filter(({ ready }) => ready).length === 2,
    );
    assert.deepEqual(
      pod.status?.containerStatuses?.map(({ name, ready }) => [name, ready]),
      [
        ["bad", false],
        ["good", true],
        ["tcp", true],
      ],
    );
    assert.ok(asked.includes("/ok yes"));
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

test("a postStart hook that fails ends its container, and preStop runs before the end", async () => {
  await using node = await startNode();
  node.runtime.onExec = (cmd) => ({ exitCode: cmd[0] === "break" ? 1 : 0 });
  node.apply("broken", {
    containers: [{ name: "a", image, lifecycle: { postStart: { exec: { command: ["break"] } } } }],
  });
  await node.event("broken", "FailedPostStartHook");
  node.apply("polite", { containers: [{ name: "b", image, lifecycle: { preStop: { exec: { command: ["bye"] } } } }] });
  await node.when("polite", (pod) => pod.status?.phase === "Running");
  node.api.drop("pods", "default", "polite", 5);
  await node.gone("polite");
  const calls = node.runtime.calls.filter((call) => call.endsWith("bye") || call === "stopContainer b");
  assert.deepEqual(calls, ["execSync b bye", "stopContainer b"]);
});
