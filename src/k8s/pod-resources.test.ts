import assert from "node:assert/strict";
import { test } from "node:test";
import { aggregateRequests, formatQuantity, podTotals, qosClass, type Pod } from "#k8s";

const pod = (spec: object, ...resources: object[]): Pod => ({
  spec: { containers: resources.map((one, i) => ({ name: `c${i}`, resources: one })), ...spec },
});
const both = { cpu: "1", memory: "1Gi" };

test("quality of service comes from requests and limits", () => {
  const of = (...resources: object[]): string => qosClass(pod({}, ...resources));
  assert.equal(of({}), "BestEffort");
  assert.equal(of({ limits: { cpu: "1" } }), "Burstable");
  assert.equal(of({ limits: both }), "Guaranteed");
  assert.equal(of({ limits: both, requests: { cpu: "1000m", memory: "1024Mi" } }), "Guaranteed");
  assert.equal(of({ limits: both, requests: { cpu: "500m" } }), "Burstable");
  assert.equal(of({ limits: both }, {}), "Burstable");
  assert.equal(of({ limits: { cpu: "0" } }), "BestEffort");
});

test("quality of service is that of the whole Pod where the Pod says so, of every container else", () => {
  assert.equal(qosClass(pod({ resources: { limits: both } }, {})), "Guaranteed");
  assert.equal(qosClass(pod({ resources: { requests: { cpu: "1" } } }, { limits: both })), "Burstable");
  assert.equal(qosClass(pod({ initContainers: [{ name: "i" }] }, { limits: both })), "Burstable");
  assert.equal(
    qosClass(pod({ initContainers: [{ name: "i", resources: { limits: both } }] }, { limits: both })),
    "Guaranteed",
  );
});

const asks = (cpu: string) => ({ requests: { cpu } });
const initContainers = [
  { name: "s", resources: asks("100m"), restartPolicy: "Always" },
  { name: "i", resources: asks("700m") },
  { name: "j", resources: asks("400m") },
];

test("init containers ask one by one, beside those that run on", () => {
  const of = (spec: object): object => aggregateRequests(pod(spec, asks("200m"), asks("300m")).spec!);
  assert.deepEqual(of({}), { cpu: "500m" });
  assert.deepEqual(of({ initContainers }), { cpu: "800m" });
});

test("a whole Pod takes its overhead beside its containers, and has the limits that it says itself", () => {
  const of = (kind: "requests" | "limits", one: Pod): object =>
    Object.fromEntries(Object.entries(podTotals(one, kind)).map(([name, sum]) => [name, formatQuantity(sum)]));
  const overhead = { cpu: "50m", memory: "32Mi" };
  const one = pod({ overhead, initContainers }, { limits: { cpu: "200m" } }, asks("300m"));
  assert.deepEqual(of("requests", one), { cpu: "850m", memory: "32Mi" });
  assert.deepEqual(of("limits", one), { cpu: "250m" });
  const whole = pod({ resources: { limits: { cpu: "2" } } }, { limits: { cpu: "200m", memory: "64Mi" } });
  assert.deepEqual(of("requests", whole), { cpu: "2", memory: "64Mi" });
});
