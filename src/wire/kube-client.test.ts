import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import http from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TLSSocket } from "node:tls";
import { isFailure, silent } from "#base";
import type { KubeObject } from "#k8s";
import { createKubeClient, kubeconfig, kubePath, loadKubeconfig, openPki, startInformer, type KubeClient } from "#wire";

type Handler = (request: http.IncomingMessage, response: http.ServerResponse, body: string) => void;

interface TestServer extends AsyncDisposable {
  readonly client: KubeClient;
  readonly seen: string[];
}

async function serve(handler: Handler): Promise<TestServer> {
  const seen: string[] = [];
  const server = http.createServer((request, response) => {
    let body = "";
    request.on("data", (chunk) => (body += String(chunk)));
    request.on("end", () => {
      seen.push(`${request.method} ${request.url}`);
      handler(request, response, body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const client = createKubeClient({ server: url, token: () => "secret" });
  return {
    client,
    seen,
    async [Symbol.asyncDispose]() {
      client[Symbol.dispose]();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const json = (response: http.ServerResponse, body: object, code = 200): void => {
  response.writeHead(code, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
};

const pod = (name: string, resourceVersion: string, uid = name): KubeObject => ({
  metadata: { name, namespace: "default", resourceVersion, uid },
});

test("paths are the API's own", () => {
  assert.equal(kubePath("v1", "nodes", { name: "a" }), "/api/v1/nodes/a");
  assert.equal(
    kubePath("v1", "pods", { namespace: "x", name: "y", subresource: "status" }),
    "/api/v1/namespaces/x/pods/y/status",
  );
  assert.equal(kubePath("coordination.k8s.io/v1", "leases"), "/apis/coordination.k8s.io/v1/leases");
});

test("a refusal carries the Status's reason, and who is not there is unreachable", async () => {
  await using server = await serve((_, response) => {
    json(response, { kind: "Status", code: 404, reason: "NotFound", message: 'pods "x" not found' }, 404);
  });
  await assert.rejects(
    server.client.get("/api/v1/x"),
    (error) => isFailure(error, "NotFound") && error.code === "NOT_FOUND",
  );
  using nobody = createKubeClient({ server: "http://127.0.0.1:9" });
  await assert.rejects(
    nobody.get("/api/v1/x"),
    (error) => isFailure(error, "UNREACHABLE") && /127\.0\.0\.1:9/.test(error.message),
  );
});

test("a patch says which kind it is, and the token goes along", async () => {
  const types: unknown[] = [];
  await using server = await serve((request, response, body) => {
    types.push([request.headers["content-type"], request.headers.authorization, body]);
    json(response, {});
  });
  await server.client.patch("/x", { a: 1 });
  await server.client.patch("/x", { a: 1 }, "strategic");
  assert.deepEqual(types, [
    ["application/merge-patch+json", "Bearer secret", '{"a":1}'],
    ["application/strategic-merge-patch+json", "Bearer secret", '{"a":1}'],
  ]);
});

test("a certificate that is renewed in its files is used from the next request on, half of a pair is not", async () => {
  const directory = await mkdtemp(join(tmpdir(), "orlop-kube-client-"));
  const pki = await openPki(join(directory, "pki"));
  const certificate = await pki.serverCertificate({ dnsNames: ["localhost"], ips: ["127.0.0.1"] });
  const server = https.createServer(
    { ...certificate, ca: pki.ca, requestCert: true, rejectUnauthorized: true },
    (request, response) => {
      json(response, { metadata: { name: String((request.socket as TLSSocket).getPeerCertificate().subject.CN) } });
    },
  );
  try {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const write = async (half: "cert" | "key", commonName: string): Promise<void> =>
      writeFile(join(directory, half), (await pki.clientCertificate({ commonName }))[half]);
    await write("cert", "first");
    await write("key", "first");
    const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const text = kubeconfig({ server: url, ca: pki.ca, cert: "", key: "", name: "x" })
      .replace(/client-certificate-data: .*/, "client-certificate: cert")
      .replace(/client-key-data: .*/, "client-key: key");
    using client = createKubeClient(await loadKubeconfig(text, { directory }));
    const user = async (): Promise<string | undefined> => (await client.get("/me")).metadata?.name;
    assert.equal(await user(), "first");
    await write("cert", "second");
    assert.equal(await user(), "first");
    await write("key", "second");
    assert.equal(await user(), "second");
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await rm(directory, { recursive: true, force: true });
  }
});

test("a list is read to its last page", async () => {
  await using server = await serve((request, response) => {
    const next = new URL(request.url ?? "", "http://x").searchParams.get("continue");
    if (next) json(response, { metadata: { resourceVersion: "7" }, items: [pod("b", "2")] });
    else json(response, { metadata: { resourceVersion: "7", continue: "more" }, items: [pod("a", "1")] });
  });
  const list = await server.client.list("/api/v1/pods");
  assert.deepEqual(
    list.items.map(({ metadata }) => metadata?.name),
    ["a", "b"],
  );
});

test("an informer lists, follows, resumes where a watch broke off, and lists again when that is too old", async () => {
  const script: ((response: http.ServerResponse) => void)[] = [
    // The first watch breaks off in the middle of a line.
    (response) => {
      response.write(`${JSON.stringify({ type: "ADDED", object: pod("b", "11") })}\n{"type":"MODI`);
      setImmediate(() => response.destroy());
    },
    (response) => {
      response.end(`${JSON.stringify({ type: "DELETED", object: pod("a", "12") })}\n`);
    },
    (response) => {
      const gone = { kind: "Status", code: 410, reason: "Expired", message: "too old resource version" };
      response.end(`${JSON.stringify({ type: "ERROR", object: gone })}\n`);
    },
  ];
  const lists = [
    { metadata: { resourceVersion: "10" }, items: [pod("a", "9")] },
    { metadata: { resourceVersion: "20" }, items: [pod("b", "19", "another")] },
  ];
  await using server = await serve((request, response) => {
    if (!request.url?.includes("watch=true")) json(response, lists.shift() ?? {});
    else {
      response.writeHead(200);
      script.shift()?.(response);
    }
  });
  const told: string[] = [];
  const done = Promise.withResolvers<void>();
  await using informer = startInformer({
    client: server.client,
    path: "/api/v1/pods",
    log: silent,
    onChange(object) {
      told.push(`+${object.metadata?.name}@${object.metadata?.resourceVersion}`);
      if (object.metadata?.resourceVersion === "19") done.resolve();
    },
    onDelete(object) {
      told.push(`-${object.metadata?.name}`);
    },
  });
  await informer.synced;
  await done.promise;
  // Another object under an old name is the end of the old one.
  assert.deepEqual(told, ["+a@9", "+b@11", "-a", "-b", "+b@19"]);
  assert.deepEqual(
    informer.list().map(({ metadata }) => metadata?.uid),
    ["another"],
  );
  const versions = server.seen
    .filter((line) => line.includes("watch=true"))
    .map((line) => /resourceVersion=(\d+)/.exec(line)?.[1]);
  assert.deepEqual(versions.slice(0, 3), ["10", "11", "12"]);
});
