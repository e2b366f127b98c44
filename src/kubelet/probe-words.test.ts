import assert from "node:assert/strict";
import { createServer, type RequestListener } from "node:http";
import { createServer as createHttp2Server, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo, Server } from "node:net";
import { test } from "node:test";
import type { Pod, Probe } from "#k8s";
import { status } from "./testing/fake-runtime.ts";
import { startNode, type TestNode } from "./testing/node.ts";

const image = "busybox:1";
const only = (pod: Pod) => pod.status?.containerStatuses?.[0];
const often = { periodSeconds: 0.02, failureThreshold: 1 };

async function listening(server: Server): Promise<AsyncDisposable & { readonly port: number }> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { port, [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())) };
}
const serve = (listener: RequestListener) => listening(createServer({ keepAlive: false }, listener));

async function closedPort(): Promise<number> {
  await using server = await serve(() => {});
  return server.port;
}

/** What the Events of a Pod with this readiness probe say first. */
async function said(node: TestNode, name: string, probe: Probe, reason = "Unhealthy"): Promise<string | undefined> {
  node.apply(name, { containers: [{ name: "a", image, readinessProbe: { ...often, ...probe } }] });
  return (await node.event(name, reason)).message;
}

test("a connection that fails is told in Go's words", async () => {
  await using node = await startNode();
  const port = await closedPort();
  const host = "127.0.0.1";
  const refused = `dial tcp 127.0.0.1:${port}: connect: connection refused`;
  assert.equal(await said(node, "tcp", { tcpSocket: { host, port } }), `Readiness probe failed: ${refused}`);
  assert.equal(
    await said(node, "http", { httpGet: { host, port, path: "healthz" } }),
    `Readiness probe failed: Get "http://127.0.0.1:${port}/healthz": ${refused}`,
  );
});

test("a server that does not answer in time is told as Go's client does", async () => {
  await using node = await startNode();
  await using server = await serve(() => {});
  const { port } = server;
  const message = await said(node, "slow", { timeoutSeconds: 0.05, httpGet: { host: "127.0.0.1", port } });
  const why = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
  assert.equal(message, `Readiness probe failed: Get "http://127.0.0.1:${port}/": ${why}`);
});

test("a redirect within the host is followed, one that leaves it counts as success with a warning", async () => {
  await using node = await startNode();
  await using server = await serve((request, response) => {
    const location = { "/stay": "/bad", "/leave": "http://example.com/" }[request.url ?? ""];
    if (location) response.writeHead(302, { location }).end("moved");
    else response.writeHead(500).end();
  });
  const target = { host: "127.0.0.1", port: server.port };
  const stayed = await said(node, "stay", { httpGet: { ...target, path: "/stay" } });
  assert.equal(stayed, "Readiness probe failed: HTTP probe failed with statuscode: 500");
  const left = await said(node, "leave", { httpGet: { ...target, path: "/leave" } }, "ProbeWarning");
  assert.equal(left, "Readiness probe warning: Probe terminated redirects, Response body: moved");
  await node.when("leave", (pod) => only(pod)?.ready);
});

test("gRPC health is told in the words of upstream's probe", async () => {
  await using node = await startNode();
  node.runtime.podIp = "127.0.0.1";
  const answers: Readonly<Record<string, (stream: ServerHttp2Stream) => void>> = {
    sick: (stream) => {
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.once("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.end(Buffer.of(0, 0, 0, 0, 2, 0x08, 2));
    },
    none: (stream) => {
      stream.respond({ ":status": 200, "grpc-status": "12", "grpc-message": "unknown service" }, { endStream: true });
    },
  };
  for (const [name, message] of [
    ["sick", 'service unhealthy (responded with "NOT_SERVING")'],
    ["none", "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): unknown service"],
  ] as const) {
    const server = createHttp2Server();
    server.on("stream", (stream) => answers[name]?.(stream));
    await using at = await listening(server);
    const told = await said(node, name, { grpc: { port: at.port } });
    assert.equal(told, `Readiness probe failed: ${message}`);
    node.api.drop("pods", "default", name, 0);
    await node.runtime.until(() => node.runtime.running("a").length === 0);
  }
});

test("a command that takes too long has failed; a runtime that cannot run it says nothing of the container", async () => {
  await using node = await startNode();
  const probe = (word: string) => ({ exec: { command: [word, "$(WORD)"] } });
  node.runtime.onExec = (cmd) => {
    throw cmd[0] === "slow" ? status("DEADLINE_EXCEEDED", "context deadline exceeded") : status("UNKNOWN", "no shim");
  };
  const spec = { name: "a", image, env: [{ name: "WORD", value: "hello" }] };
  node.apply("slow", { containers: [{ ...spec, readinessProbe: { ...often, ...probe("slow") } }] });
  const slow = await node.event("slow", "Unhealthy");
  assert.equal(slow.message, 'Readiness probe failed: command timed out: "slow hello" timed out after 1s');

  node.apply("odd", { containers: [{ ...spec, livenessProbe: { ...often, ...probe("odd") } }] });
  const message = "Liveness probe errored and resulted in unknown state: no shim";
  await node.api.until(() => node.api.events("odd").some((event) => event.message === message && event.count === 3));
  assert.equal(only(node.pod("odd"))?.restartCount, 0);
  assert.ok(!node.told("odd").some((line) => line.includes("Killing")));
  const asked = node.runtime.calls.filter((call) => call === "execSync a odd hello").length;
  assert.ok(asked >= 9, `${asked} times for three errors`);
});

test("a container that was ready stays so over a kubelet's restart, until its probe says otherwise", async () => {
  await using node = await startNode();
  node.runtime.onExec = () => ({ exitCode: 0 });
  const probe = { ...often, exec: { command: ["check"] } };
  node.apply("web", { containers: [{ name: "a", image, startupProbe: probe, readinessProbe: probe }] });
  await node.when("web", (pod) => only(pod)?.ready);
  const answer = Promise.withResolvers<{ exitCode: number }>();
  node.runtime.onExec = () => answer.promise;
  const seen: unknown[] = [];
  const watching = node.when("web", (pod) => {
    seen.push(only(pod)?.ready);
    return only(pod)?.ready === false;
  });
  await node.restart();
  const execs = () => node.runtime.calls.filter((call) => call.startsWith("execSync")).length;
  const before = execs();
  await node.runtime.until(() => execs() > before);
  assert.ok(seen.every((ready) => ready === true));
  answer.resolve({ exitCode: 1 });
  await watching;
  assert.equal(only(node.pod("web"))?.started, true);
});

test("what a hook printed is in the container's status only, and its failure in the words of upstream", async () => {
  await using node = await startNode();
  node.runtime.onExec = () => ({ exitCode: 7, stdout: "hunter2" });
  const { metadata } = node.apply("web", {
    terminationGracePeriodSeconds: 9,
    containers: [
      { name: "a", image, lifecycle: { postStart: { exec: { command: ["sh", "-c", "x"] } } } },
      { name: "b", image, lifecycle: { preStop: { exec: { command: ["bye"] } } } },
    ],
  });
  const pod = await node.when("web", (pod) => only(pod)?.state?.waiting?.reason === "PostStartHookError");
  assert.equal(
    only(pod)?.state?.waiting?.message,
    `Exec lifecycle hook ([sh -c x]) for Container "a" in Pod "web_default(${metadata?.uid})" failed - error: ` +
      `command 'sh -c x' exited with 7: , message: "hunter2"`,
  );
  await node.event("web", "FailedPostStartHook", "PostStartHook failed");
  await node.event("web", "Killing", "FailedPostStartHook");
  await node.when("web", (pod) => pod.status?.containerStatuses?.[1]?.state?.running);
  assert.deepEqual(node.runtime.stops[0], { name: "a", timeout: 9 });
  node.api.drop("pods", "default", "web", 3);
  await node.event("web", "FailedPreStopHook", "PreStopHook failed");
  await node.gone("web");
  assert.ok(!node.told("web").join().includes("hunter2"));
});

test("an HTTP hook that is answered has run, whatever the answer", async () => {
  await using node = await startNode();
  const agents: unknown[] = [];
  await using server = await serve((request, response) => {
    agents.push(request.headers["user-agent"]);
    response.writeHead(500).end();
  });
  const postStart = { httpGet: { host: "127.0.0.1", port: server.port } };
  node.apply("web", { containers: [{ name: "a", image, lifecycle: { postStart } }] });
  await node.when("web", (pod) => only(pod)?.ready);
  assert.deepEqual(agents, ["kube-lifecycle/1.36"]);
});
