import assert from "node:assert/strict";
import { test } from "node:test";
import type { Pod } from "#k8s";
import { aggregateRequests, qosClass } from "./aggregate.ts";
import { pod } from "./testing/table.ts";

test("quality of service comes from requests and limits", () => {
  const resources = (limits: object, requests: object): Pod => pod({}, { resources: { limits, requests } });
  assert.equal(qosClass(resources({}, {})), "BestEffort");
  assert.equal(qosClass(resources({ cpu: "1" }, {})), "Burstable");
  assert.equal(qosClass(resources({ cpu: "1", memory: "1Gi" }, {})), "Guaranteed");
  assert.equal(qosClass(resources({ cpu: "1", memory: "1Gi" }, { cpu: "500m" })), "Burstable");
});

test("quality of service is that of the whole Pod where the Pod says so, of every container else", () => {
  const limits = { cpu: "1", memory: "1Gi" };
  assert.equal(qosClass(pod({ resources: { limits } })), "Guaranteed");
  assert.equal(qosClass(pod({ resources: { requests: { cpu: "1" } } }, { resources: { limits } })), "Burstable");
  const one = { name: "i", image: "b" };
  assert.equal(qosClass(pod({ initContainers: [one] }, { resources: { limits } })), "Burstable");
  assert.equal(
    qosClass(pod({ initContainers: [{ ...one, resources: { limits } }] }, { resources: { limits } })),
    "Guaranteed",
  );
});

test("init containers ask one by one, beside those that run on", () => {
  const asks = (cpu: string, more: object = {}): object => ({ image: "b", resources: { requests: { cpu } }, ...more });
  const spec = {
    containers: [asks("200m", { name: "a" }), asks("300m", { name: "b" })],
    initContainers: [
      asks("100m", { name: "s", restartPolicy: "Always" }),
      asks("700m", { name: "i" }),
      asks("400m", { name: "j" }),
    ],
  };
  assert.deepEqual(aggregateRequests(pod(spec).spec!), { cpu: "800m" });
  assert.deepEqual(aggregateRequests(pod({ containers: spec.containers }).spec!), { cpu: "500m" });
});
