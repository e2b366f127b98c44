import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Backoff } from "./backoff.ts";
import { dnsOf } from "./dns.ts";
import { expand } from "./expand.ts";
import { goDuration } from "./go-duration.ts";
import { qosOf } from "./pod.ts";
import { resourcesOf } from "./resources.ts";

test("durations are written as Go writes them", () => {
  const all = [0, 84, 999, 1000, 1234, 62_500, 3_600_000, 7_261_001].map(goDuration);
  assert.deepEqual(all, ["0s", "84ms", "999ms", "1s", "1.234s", "1m2.5s", "1h0m0s", "2h1m1.001s"]);
});

test("$(NAME) is replaced, $$ is one dollar, and everything else stays", () => {
  const variables = new Map([["A", "1"]]);
  for (const [text, expected] of [
    ["$(A)-$(A)", "1-1"],
    ["$$(A)", "$(A)"],
    ["$(B)", "$(B)"],
    ["$(A", "$(A"],
    ["$A $", "$A $"],
    ["$$$(A)", "$1"],
  ] as const)
    assert.equal(expand(text, variables), expected);
  fc.assert(
    fc.property(
      fc.string().filter((text) => !text.includes("$")),
      (text) => expand(text, variables) === text,
    ),
  );
});

test("waits double up to their limit and start anew after a long rest", () => {
  const backoff = new Backoff(10, 300);
  const waits = [0, 100, 200, 300, 400, 500, 600].map((now) => backoff.next("a", now));
  assert.deepEqual(waits, [10, 20, 40, 80, 160, 300, 300]);
  assert.equal(backoff.remaining("a", 700, 600), 200);
  assert.equal(backoff.remaining("a", 5000, 4000), 0, "what ran for long may restart at once");
  assert.equal(backoff.next("a", 600 + 601), 10);
  backoff.forget("a");
  assert.equal(backoff.waitOf("a"), 0);
});

const pod = (spec: object) => ({ metadata: { namespace: "ns" }, spec: { containers: [], ...spec } });

test("the quality of service follows from requests and limits", () => {
  const of = (...resources: object[]) =>
    qosOf(pod({ containers: resources.map((one) => ({ name: "a", resources: one })) }));
  assert.equal(of({}), "BestEffort");
  assert.equal(of({ requests: { cpu: "1" } }), "Burstable");
  assert.equal(of({ limits: { cpu: "1", memory: "1Gi" } }), "Guaranteed");
  assert.equal(of({ limits: { cpu: "1", memory: "1Gi" }, requests: { cpu: "500m" } }), "Burstable");
  assert.equal(of({ limits: { cpu: "1", memory: "1Gi" } }, {}), "Burstable");
  const whole = { resources: { limits: { cpu: "1", memory: "1Gi" } } };
  assert.equal(qosOf(pod({ containers: [{ name: "a" }], ...whole })), "Guaranteed");
  assert.equal(qosOf({ ...pod({}), status: { qosClass: "Burstable" } }), "Burstable", "the API server said so");
});

test("requests and limits become cgroup settings", () => {
  const container = { name: "a", resources: { requests: { cpu: "250m" }, limits: { cpu: "500m", memory: "64Mi" } } };
  const { cpuShares, cpuQuota, cpuPeriod, memoryLimitInBytes } = resourcesOf(
    pod({ containers: [container] }),
    container,
    2 ** 30,
  );
  assert.deepEqual([cpuShares, cpuQuota, cpuPeriod, memoryLimitInBytes], [256n, 50_000n, 100_000n, 67_108_864n]);
  const none = resourcesOf(pod({ containers: [{ name: "a" }] }), { name: "a" }, 2 ** 30);
  assert.deepEqual([none.cpuShares, none.cpuQuota, none.memoryLimitInBytes, none.oomScoreAdj], [2n, 0n, 0n, 1000n]);
});

test("a Pod's resolver follows its policy, the cluster and the node", () => {
  const settings = {
    clusterDns: ["10.0.0.10"],
    clusterDomain: "cluster.local",
    resolvConf: "# mine\nnameserver 1.1.1.1\nnameserver 2.2.2.2\nsearch home\noptions timeout:1\n",
  };
  const node = { servers: ["1.1.1.1", "2.2.2.2"], searches: ["home"], options: ["timeout:1"] };
  assert.deepEqual(dnsOf(pod({}), settings), {
    servers: ["10.0.0.10"],
    searches: ["ns.svc.cluster.local", "svc.cluster.local", "cluster.local", "home"],
    options: ["ndots:5"],
  });
  assert.deepEqual(dnsOf(pod({ dnsPolicy: "Default" }), settings), node);
  assert.deepEqual(dnsOf(pod({ hostNetwork: true }), settings), node);
  assert.deepEqual(
    dnsOf(pod({}), { ...settings, clusterDns: [] }),
    node,
    "a cluster without DNS is no reason to have none",
  );
  const dnsConfig = {
    nameservers: ["3.3.3.3"],
    searches: ["x"],
    options: [{ name: "timeout", value: "9" }, { name: "rotate" }],
  };
  assert.deepEqual(dnsOf(pod({ dnsPolicy: "None", dnsConfig }), settings), {
    servers: ["3.3.3.3"],
    searches: ["x"],
    options: ["timeout:9", "rotate"],
  });
});
