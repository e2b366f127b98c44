import assert from "node:assert/strict";
import { test } from "node:test";
import { serviceVariables } from "./services.ts";
import { startNode, type TestNode } from "./testing/node.ts";

const image = "busybox:1";

async function environmentOf(node: TestNode, name: string): Promise<Record<string, string>> {
  await node.when(name, (pod) => pod.status?.phase === "Running");
  const created = node.runtime.created.find(({ config }) => config?.labels?.["io.kubernetes.pod.name"] === name);
  return Object.fromEntries((created?.config?.envs ?? []).map(({ key, value }) => [key, String(value)]));
}

test("a Service with an address gives the variables of its host, its ports and docker's links", () => {
  const variables = serviceVariables([
    { metadata: { name: "redis-primary" }, spec: { clusterIP: "10.0.0.11", ports: [{ port: 6379 }] } },
    {
      metadata: { name: "kubernetes" },
      spec: { clusterIP: "10.96.0.1", ports: [{ name: "https", port: 443, protocol: "TCP" }] },
    },
    { metadata: { name: "headless" }, spec: { clusterIP: "None", ports: [{ port: 80 }] } },
  ]);
  assert.deepEqual(Object.fromEntries(variables), {
    REDIS_PRIMARY_SERVICE_HOST: "10.0.0.11",
    REDIS_PRIMARY_SERVICE_PORT: "6379",
    REDIS_PRIMARY_PORT: "tcp://10.0.0.11:6379",
    REDIS_PRIMARY_PORT_6379_TCP: "tcp://10.0.0.11:6379",
    REDIS_PRIMARY_PORT_6379_TCP_PROTO: "tcp",
    REDIS_PRIMARY_PORT_6379_TCP_PORT: "6379",
    REDIS_PRIMARY_PORT_6379_TCP_ADDR: "10.0.0.11",
    KUBERNETES_SERVICE_HOST: "10.96.0.1",
    KUBERNETES_SERVICE_PORT: "443",
    KUBERNETES_SERVICE_PORT_HTTPS: "443",
    KUBERNETES_PORT: "tcp://10.96.0.1:443",
    KUBERNETES_PORT_443_TCP: "tcp://10.96.0.1:443",
    KUBERNETES_PORT_443_TCP_PROTO: "tcp",
    KUBERNETES_PORT_443_TCP_PORT: "443",
    KUBERNETES_PORT_443_TCP_ADDR: "10.96.0.1",
  });
});

test("containers are told of the API server's Service always, and of their namespace's unless they want no links", async () => {
  await using node = await startNode();
  const service = (name: string, clusterIP: string) => ({
    metadata: { name, namespace: "default" },
    spec: { clusterIP, ports: [{ port: 80 }] },
  });
  node.api.put("services", service("kubernetes", "10.96.0.1"));
  node.api.put("services", service("web", "10.96.0.2"));
  const env = [
    { name: "URL", value: "http://$(WEB_SERVICE_HOST)/$(KUBERNETES_SERVICE_HOST)" },
    { name: "KUBERNETES_SERVICE_PORT", value: "mine" },
  ];
  node.apply("linked", { containers: [{ name: "a", image, env }] });
  node.apply("alone", { enableServiceLinks: false, containers: [{ name: "a", image, env }] });

  const linked = await environmentOf(node, "linked");
  assert.equal(linked["URL"], "http://10.96.0.2/10.96.0.1");
  assert.equal(linked["WEB_SERVICE_PORT"], "80");
  assert.equal(linked["KUBERNETES_SERVICE_PORT"], "mine", "what the Pod says itself wins");
  const alone = await environmentOf(node, "alone");
  assert.equal(alone["URL"], "http://$(WEB_SERVICE_HOST)/10.96.0.1");
  assert.equal(alone["WEB_SERVICE_PORT"], undefined);
});

test("where the API server has no Services, nothing is said of them", async () => {
  await using node = await startNode();
  node.apply("web", { containers: [{ name: "a", image }] });
  assert.deepEqual(await environmentOf(node, "web"), {});
});
