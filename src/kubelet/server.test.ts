import assert from "node:assert/strict";
import { appendFile, mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import http from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import type { TLSSocket } from "node:tls";
import { openPki } from "#wire";
import { startKubeletServer } from "./server.ts";
import { status } from "./testing/fake-runtime.ts";
import { startNode, type TestNode } from "./testing/node.ts";

const image = "busybox:1";

async function caller(node: TestNode, commonName = "kube-apiserver", organizations = ["system:masters"]) {
  const pki = await openPki(join(node.directory, "pki"));
  const { cert, key } = await pki.clientCertificate({ commonName, organizations });
  const options = { host: "127.0.0.1", port: node.kubelet.port, ca: pki.ca, cert, key, agent: false as const };
  const open = (path: string): Promise<http.IncomingMessage> =>
    new Promise((resolve, reject) => {
      https.get({ ...options, path }, resolve).on("error", reject);
    });
  const get = async (path: string): Promise<{ code: number | undefined; text: string }> => {
    const response = await open(path);
    let text = "";
    for await (const chunk of response) text += String(chunk);
    return { code: response.statusCode, text };
  };
  return { options, open, get };
}

/** A running Pod whose container logs to a file that the test writes. */
async function logged(node: TestNode): Promise<string> {
  const path = join(node.directory, "log", "0.log");
  await mkdir(dirname(path), { recursive: true });
  const statusOf = node.runtime.containerStatus;
  Object.assign(node.runtime, {
    containerStatus: async (...args: Parameters<typeof statusOf>) => {
      const answer = await statusOf(...args);
      return { ...answer, status: { ...answer.status, logPath: path } };
    },
  });
  node.apply("web", { containers: [{ name: "a", image }] });
  await node.when("web", (pod) => pod.status?.phase === "Running");
  return path;
}

const line = (second: number, text: string, tag = "F", stream = "stdout"): string =>
  `2026-11-23T10:00:${String(second).padStart(2, "0")}.000000000Z ${stream} ${tag} ${text}\n`;

test("nobody is served without a certificate of the client authority or a token that the API server knows", async () => {
  await using node = await startNode();
  const { options } = await caller(node);
  const own = await openPki(join(node.directory, "other-pki"));
  const foreign = await own.clientCertificate({ commonName: "kube-apiserver", organizations: ["system:masters"] });
  const get = (extra: object): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      const call = https.get({ ...options, cert: undefined, key: undefined, path: "/pods", ...extra }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      call.on("error", reject);
    });
  assert.equal(await get({}), 401);
  assert.equal(await get(foreign), 401);
  assert.equal(await get({ headers: { authorization: "Bearer made-up" } }), 401);
});

test("a certificate that is renewed is shown from the next connection on", async () => {
  const directory = await mkdtemp(join(tmpdir(), "orlop-kubelet-server-"));
  try {
    const pki = await openPki(join(directory, "pki"));
    const certificate = (name: string) => pki.serverCertificate({ dnsNames: [name], ips: ["127.0.0.1"] });
    const options = { host: "127.0.0.1", port: 0, certificate: await certificate("first"), clientCa: pki.ca };
    await using server = await startKubeletServer(options);
    const shown = (): Promise<string | undefined> =>
      new Promise((resolve, reject) => {
        const to = { host: "127.0.0.1", port: server.port, ca: pki.ca, agent: false as const, path: "/healthz" };
        const call = https.get(to, (response) => {
          response.resume();
          resolve((response.socket as TLSSocket).getPeerCertificate().subjectaltname);
        });
        call.on("error", reject);
      });
    assert.match((await shown()) ?? "", /DNS:first/);
    server.renew(await certificate("second"));
    assert.match((await shown()) ?? "", /DNS:second/);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});

test("a token opens what the API server allows its user: the figures, say, and no more", async () => {
  await using node = await startNode();
  node.api.mayDo = (user, subresource) =>
    user === "system:serviceaccount:default:reader" && ["stats", "metrics"].includes(subresource);
  const { options } = await caller(node);
  const get = (path: string, account: string): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      const headers = { authorization: `Bearer token-of-${account}` };
      const call = https.get({ ...options, cert: undefined, key: undefined, path, headers }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      call.on("error", reject);
    });
  assert.equal(await get("/stats/summary", "reader"), 200);
  assert.equal(await get("/metrics?x", "reader"), 200);
  assert.equal(await get("/pods", "reader"), 403);
  assert.equal(await get("/stats/summary", "other"), 403);
});

test("a certificate alone opens nothing: whom the API server does not allow is refused, upgraded or not", async () => {
  await using node = await startNode();
  await logged(node);
  const { get, options } = await caller(node, "system:node:other", ["system:nodes"]);
  for (const path of ["/pods", "/metrics", "/containerLogs/default/web/a"])
    assert.equal((await get(path)).code, 403, path);
  const headers = { connection: "Upgrade", upgrade: "SPDY/3.1" };
  const refused = await new Promise<http.IncomingMessage>((resolve, reject) => {
    const call = https.request({
      ...options,
      method: "POST",
      path: "/exec/default/web/a?command=id&output=1",
      headers,
    });
    call
      .on("response", resolve)
      .on("upgrade", () => reject(new Error("it upgraded")))
      .on("error", reject)
      .end();
  });
  assert.equal(refused.statusCode, 403);
  assert.match(
    (await get("/pods")).text,
    /user=system:node:other, verb=get, resource=nodes, subresource\(s\)=\[proxy\]/,
  );
});

test("/pods, /healthz and /metrics tell what runs", async () => {
  await using node = await startNode();
  const { get } = await caller(node);
  node.apply("web", {
    containers: [{ name: "a", image, volumeMounts: [{ name: "v", mountPath: "/v" }] }],
    volumes: [{ name: "v", image: { reference: "quay.io/crio/artifact:v1" } }],
  });
  await node.when("web", (pod) => pod.status?.phase === "Running");
  assert.deepEqual(await get("/healthz"), { code: 200, text: "ok" });
  const pods = JSON.parse((await get("/pods")).text) as { items: { metadata: { name: string } }[] };
  assert.deepEqual(
    pods.items.map(({ metadata }) => metadata.name),
    ["web"],
  );
  const { text } = await get("/metrics");
  assert.match(text, /^kubelet_image_volume_requested_total 1$/m);
  assert.match(text, /^kubelet_image_volume_mounted_succeed_total 1$/m);
  assert.match(text, /^kubelet_image_volume_mounted_errors_total 0$/m);
});

test("logs are read back as kubectl asks: whole, tail, since, with times, limited, by stream", async () => {
  await using node = await startNode();
  const { get } = await caller(node);
  const path = await logged(node);
  await writeFile(
    path,
    line(1, "one") + line(2, "tw", "P") + line(2, "o") + line(3, "three", "F", "stderr") + line(4, ""),
  );
  const logs = async (query: string): Promise<string> => (await get(`/containerLogs/default/web/a?${query}`)).text;
  assert.equal(await logs(""), "one\ntwo\nthree\n\n");
  assert.equal(await logs("tailLines=3"), "two\nthree\n\n");
  assert.equal(await logs("tailLines=0"), "");
  assert.equal(await logs("tailLines=99"), "one\ntwo\nthree\n\n");
  assert.equal(await logs("sinceTime=2026-11-23T10:00:03Z"), "three\n\n");
  assert.equal(await logs("limitBytes=5"), "one\nt");
  assert.equal(await logs("stream=Stderr"), "three\n");
  assert.equal(
    await logs("timestamps=true&tailLines=3"),
    "2026-11-23T10:00:02.000000000Z two\n2026-11-23T10:00:03.000000000Z three\n2026-11-23T10:00:04.000000000Z \n",
  );
});

test("followed logs go on over a rotation and end with the container", async () => {
  await using node = await startNode();
  const { open } = await caller(node);
  const path = await logged(node);
  await writeFile(path, line(1, "one"));
  const response = await open("/containerLogs/default/web/a?follow=true");
  let text = "";
  const arrived = async (end: string): Promise<void> => {
    for await (const chunk of response.iterator({ destroyOnReturn: false })) {
      text += String(chunk);
      if (text.endsWith(end)) return;
    }
  };
  await arrived("one\n");
  await appendFile(path, line(2, "two"));
  await arrived("two\n");
  await rename(path, `${path}.20261123-100003`);
  await writeFile(path, line(3, "three"));
  await arrived("three\n");
  node.runtime.exit("a", 0);
  await appendFile(path, line(4, "last"));
  for await (const chunk of response) text += String(chunk);
  assert.equal(text, "one\ntwo\nthree\nlast\n");
});

test("the log of the container before this one, and an error where there is none", async () => {
  await using node = await startNode();
  const { get } = await caller(node);
  const path = await logged(node);
  await writeFile(path, line(1, "one"));
  const missing = await get("/containerLogs/default/web/a?previous=true");
  assert.deepEqual(missing, { code: 400, text: 'previous terminated container "a" in pod "web" not found' });
  node.runtime.exit("a", 1);
  await node.when("web", (pod) => pod.status?.containerStatuses?.[0]?.restartCount === 1);
  assert.equal((await get("/containerLogs/default/web/a?previous=true")).text, "one\n");
  assert.equal((await get("/containerLogs/default/nobody/a")).code, 404);
});

test("exec, attach and port-forward become one byte stream to where the runtime streams", async () => {
  await using node = await startNode();
  const { options } = await caller(node);
  node.apply("web", { containers: [{ name: "a", image }] });
  await node.when("web", (pod) => pod.status?.phase === "Running");

  const asked: unknown[] = [];
  const streaming = http.createServer();
  streaming.on("upgrade", (request, socket) => {
    asked.push([request.method, request.url, request.headers.upgrade, request.headers["x-stream-protocol-version"]]);
    socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n");
    socket.pipe(socket);
  });
  await new Promise<void>((resolve) => streaming.listen(0, "127.0.0.1", resolve));
  try {
    const url = `http://127.0.0.1:${(streaming.address() as AddressInfo).port}/stream/token`;
    Object.assign(node.runtime, {
      exec: async (request: object) => (asked.push(request), { url }),
      attach: async (request: object) => (asked.push(request), { url }),
      portForward: async (request: object) => (asked.push(request), { url }),
    });
    const headers = { connection: "Upgrade", upgrade: "SPDY/3.1", "x-stream-protocol-version": "v4.channel.k8s.io" };
    const echo = (path: string): Promise<string> =>
      new Promise((resolve, reject) => {
        const request = https.request({ ...options, method: "POST", path, headers });
        request.on("upgrade", (_, socket) => {
          socket.once("data", (data: Buffer) => {
            socket.destroy();
            resolve(data.toString());
          });
          socket.write("hello");
        });
        request.on("response", (response) => reject(new Error(String(response.statusCode))));
        request.on("error", reject);
        request.end();
      });
    const [containerId] = node.runtime.containers.keys();
    const [podSandboxId] = node.runtime.sandboxes.keys();
    const upgraded = ["POST", "/stream/token", "SPDY/3.1", "v4.channel.k8s.io"];

    assert.equal(await echo("/exec/default/web/a?command=ls&command=-l&output=1&error=1&input=1"), "hello");
    assert.equal(await echo("/attach/default/web/a?tty=1&output=1&error=1"), "hello");
    assert.equal(await echo("/portForward/default/web?port=80"), "hello");
    assert.deepEqual(asked, [
      { containerId, cmd: ["ls", "-l"], tty: false, stdin: true, stdout: true, stderr: true },
      upgraded,
      { containerId, tty: true, stdin: false, stdout: true, stderr: false },
      upgraded,
      { podSandboxId, port: [80] },
      upgraded,
    ]);
    await assert.rejects(echo("/exec/default/web/nobody?command=ls"), /404/);
  } finally {
    streaming.closeAllConnections();
    await new Promise((resolve) => streaming.close(resolve));
  }
});

test("mounts of image volumes are counted by what became of them", async () => {
  await using node = await startNode({ retryPeriod: 60_000 });
  const { get } = await caller(node);
  node.runtime.onCreate = ({ config }) => {
    const paths = config?.mounts?.map(({ containerPath }) => containerPath) ?? [];
    if (paths.includes("/bad")) throw status("UNKNOWN", "ImageVolumeMountFailed: no such path");
    if (paths.includes("/busy")) throw status("UNKNOWN", "the name is reserved");
  };
  node.apply("web", {
    containers: [["/v", "/again"], ["/bad"], ["/v", "/busy"]].map((paths, i) => ({
      name: `c${i}`,
      image,
      volumeMounts: paths.map((mountPath) => ({ name: "v", mountPath })),
    })),
    volumes: [{ name: "v", image: { reference: "quay.io/crio/artifact:v1" } }],
  });
  for (const why of ["ImageVolumeMountFailed: no such path", "the name is reserved"])
    await node.event("web", "Failed", `Error: ${why}`);
  await node.when("web", (pod) => pod.status?.containerStatuses?.[0]?.state?.running);
  const { text } = await get("/metrics");
  assert.match(text, /^kubelet_image_volume_requested_total 3$/m);
  assert.match(text, /^kubelet_image_volume_mounted_succeed_total 2$/m);
  assert.match(text, /^kubelet_image_volume_mounted_errors_total 1$/m);
});
