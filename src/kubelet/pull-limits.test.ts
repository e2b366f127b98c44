import assert from "node:assert/strict";
import { test } from "node:test";
import { startNode } from "./testing/node.ts";

test("a pull over registryPullQPS and burst fails in upstream's words, volume or container, and comes again after its back-off", async () => {
  await using node = await startNode({ registryPullQPS: 20, registryBurst: 1 });
  const waiting = new Set<string>();
  for (const name of ["a", "b", "c"])
    node.apply(name, {
      containers: [{ name: "c", image: "busybox:1", volumeMounts: [{ name: "v", mountPath: "/v" }] }],
      volumes: [{ name: "v", image: { reference: "quay.io/crio/artifact:v1", pullPolicy: "Always" } }],
    });
  await node.api.until(() => {
    for (const name of ["a", "b", "c"]) {
      const { reason, message } = node.pod(name).status?.containerStatuses?.[0]?.state?.waiting ?? {};
      if (reason === "ErrImagePull" && message) waiting.add(message);
    }
    return ["a", "b", "c"].every((name) => node.pod(name).status?.phase === "Running");
  });
  assert.ok(waiting.has("pull QPS exceeded"), [...waiting].join());
  const told = ["a", "b", "c"].flatMap((name) => node.told(name));
  assert.ok(told.includes('Warning Failed Failed to pull image "quay.io/crio/artifact:v1": pull QPS exceeded'));
  assert.ok(told.some((line) => line.endsWith("Error: ErrImagePull")));
});
