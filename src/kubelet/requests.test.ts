import assert from "node:assert/strict";
import type { IncomingMessage } from "node:http";
import https from "node:https";
import { test } from "node:test";
import type { FakeApi } from "./testing/fake-api.ts";
import { startNode } from "./testing/node.ts";

/** What a stock API server allows a kubelet, and all that ours ever asks for. */
const STANDARD = [
  /^POST \/api\/v1\/nodes$/,
  /^PATCH \/api\/v1\/nodes\/node(\/status)?$/,
  /^GET \/apis\/coordination\.k8s\.io\/v1\/namespaces\/kube-node-lease\/leases\/node$/,
  /^POST \/apis\/coordination\.k8s\.io\/v1\/namespaces\/kube-node-lease\/leases$/,
  /^PUT \/apis\/coordination\.k8s\.io\/v1\/namespaces\/kube-node-lease\/leases\/node$/,
  /^(LIST|WATCH) \/api\/v1\/pods\?fieldSelector=spec\.nodeName=node$/,
  /^PATCH \/api\/v1\/namespaces\/[^/]+\/pods\/[^/]+\/status$/,
  /^DELETE \/api\/v1\/namespaces\/[^/]+\/pods\/[^/]+$/,
  /^POST \/api\/v1\/namespaces\/[^/]+\/events$/,
  /^PATCH \/api\/v1\/namespaces\/[^/]+\/events\/[^/]+$/,
  /^GET \/api\/v1\/namespaces\/[^/]+\/(secrets|configmaps)\/[^/]+$/,
  /^POST \/api\/v1\/namespaces\/[^/]+\/serviceaccounts\/[^/]+\/token$/,
  /^GET \/api\/v1\/namespaces\/default\/services\/kubernetes$/,
  /^LIST \/api\/v1\/namespaces\/[^/]+\/services$/,
  /^GET \/apis\/node\.k8s\.io\/v1\/runtimeclasses\/[^/]+$/,
  /^POST \/apis\/authentication\.k8s\.io\/v1\/tokenreviews$/,
  /^POST \/apis\/authorization\.k8s\.io\/v1\/subjectaccessreviews$/,
];

/** Somebody with a token looks at the kubelet's own API. */
function visit(port: number): Promise<IncomingMessage> {
  const options = { host: "127.0.0.1", port, path: "/pods", rejectUnauthorized: false, agent: false as const };
  return new Promise((resolve, reject) => {
    https.get({ ...options, headers: { authorization: "Bearer token-of-default" } }, resolve).on("error", reject);
  });
}

test("the kubelet asks an API server for standard things only", async () => {
  const asked: string[] = [];
  const record = (api: FakeApi): FakeApi => {
    const note = (verb: string, path: string, query?: Readonly<Record<string, unknown>>): void => {
      const selector = query?.["fieldSelector"] as string | undefined;
      asked.push(`${verb} ${path}${selector === undefined ? "" : `?fieldSelector=${selector}`}`);
    };
    return {
      ...api,
      get: (path, ...rest) => (note("GET", path), api.get(path, ...rest)),
      list: (path, query, ...rest) => (note("LIST", path, query), api.list(path, query, ...rest)),
      watch: (path, query, ...rest) => (note("WATCH", path, query), api.watch(path, query, ...rest)),
      create: (path, ...rest) => (note("POST", path), api.create(path, ...rest)),
      update: (path, ...rest) => (note("PUT", path), api.update(path, ...rest)),
      patch: (path, ...rest) => (note("PATCH", path), api.patch(path, ...rest)),
      delete: (path, ...rest) => (note("DELETE", path), api.delete(path, ...rest)),
    };
  };
  await using node = await startNode({}, record);
  node.api.put("configmaps", { metadata: { name: "settings", namespace: "default" }, data: { a: "1" } });
  node.api.put("secrets", { metadata: { name: "login", namespace: "default" }, data: { b: "Mg==" } });
  node.runtime.onPull = (reference) => {
    if (reference.includes("missing")) throw new Error("not found");
    return { id: "sha256:there" };
  };
  node.apply("all", {
    imagePullSecrets: [{ name: "login" }, { name: "absent" }],
    initContainers: [{ name: "init", image: "busybox:1" }],
    containers: [
      {
        name: "a",
        image: "busybox:1",
        envFrom: [{ configMapRef: { name: "settings" } }, { secretRef: { name: "login" } }],
        volumeMounts: [
          { name: "image", mountPath: "/image" },
          { name: "token", mountPath: "/token" },
        ],
      },
    ],
    volumes: [
      { name: "image", image: { reference: "quay.io/crio/artifact:v1" } },
      { name: "missing", image: { reference: "quay.io/crio/missing:v1" } },
      { name: "config", configMap: { name: "settings" } },
      { name: "secret", secret: { secretName: "login" } },
      {
        name: "token",
        projected: {
          sources: [
            { serviceAccountToken: { path: "token" } },
            { downwardAPI: { items: [{ path: "n", fieldRef: { fieldPath: "metadata.name" } }] } },
          ],
        },
      },
      { name: "scratch", emptyDir: {} },
    ],
  });
  node.apply("classy", { runtimeClassName: "kata", containers: [{ name: "a", image: "busybox:1" }] });
  await node.event("classy", "FailedCreatePodSandBox");
  await node.when("all", (pod) => pod.status?.initContainerStatuses?.[0]?.state?.running);
  node.runtime.exit("init", 0);
  await node.when("all", (pod) => pod.status?.phase === "Running");
  node.runtime.exit("a", 1);
  await node.when("all", (pod) => pod.status?.containerStatuses?.[0]?.restartCount === 1);
  await node.restart();
  await node.kubelet.ready;
  const response = await visit(node.kubelet.port);
  assert.equal(response.statusCode, 403);
  node.api.drop("pods", "default", "all", 1);
  await node.gone("all");
  await node.kubelet[Symbol.asyncDispose]();

  assert.deepEqual(
    [...new Set(asked)].filter((request) => !STANDARD.some((standard) => standard.test(request))),
    [],
  );
  const unused = STANDARD.filter((standard) => !asked.some((request) => standard.test(request)));
  assert.deepEqual(unused, [], "a request that nobody makes needs no permission");
});
