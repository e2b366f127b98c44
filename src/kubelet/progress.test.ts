import assert from "node:assert/strict";
import { test } from "node:test";
import { describeProgress, PROGRESS_INFO } from "./pull-progress.ts";
import { startNode } from "./testing/node.ts";

test("progress is told in words that fit its size", () => {
  const MiB = 1 << 20;
  assert.equal(
    describeProgress({ received: 300 * MiB, total: 3000 * MiB }, { received: 200 * MiB, total: 3000 * MiB }, 5000),
    "300.0 MiB of 2.9 GiB (10 %), 20.0 MiB/s, 2m15s left",
  );
  assert.equal(describeProgress({ received: 512, total: 0 }, undefined, 0), "512 B");
  const waiting = { received: 512, total: 0, waitsUntil: Date.now() + 30_000 };
  assert.match(describeProgress(waiting, undefined, 0), /^512 B, the registry makes us wait for (30|29)s$/);
  assert.equal(
    describeProgress({ received: 1024, total: 1024 }, { received: 1024, total: 1024 }, 5000),
    "1.0 KiB of 1.0 KiB (100 %)",
  );
});

test("while a pull runs its one Event says how far it is, and its count stays one", async () => {
  await using node = await startNode({ pullProgressPeriod: 10 });
  const reference = "quay.io/models/big:v1";
  const pulled = Promise.withResolvers<{ id: string }>();
  let received = 0;
  node.runtime.onPull = (name) => (name === reference ? pulled.promise : { id: "sha256:app" });
  const status = node.runtime.imageStatus;
  Object.assign(node.runtime, {
    imageStatus: async (...args: Parameters<typeof status>) => {
      const answer = await status(...args);
      if (!args[0].verbose || args[0].image?.image !== reference) return answer;
      received += 1000;
      return { ...answer, info: { [PROGRESS_INFO]: JSON.stringify({ received, total: 1_000_000 }) } };
    },
  });
  node.apply("big", {
    containers: [{ name: "a", image: "app:1", volumeMounts: [{ name: "v", mountPath: "/v" }] }],
    volumes: [{ name: "v", image: { reference } }],
  });
  const pulling = () =>
    node.api.events("big").filter(({ message }) => message?.startsWith(`Pulling image "${reference}"`));
  const event = await node.api.until(() =>
    pulling().find(({ message }) => /of 976\.6 KiB \(\d+ %\), .*\/s, .* left$/.test(message ?? "")),
  );
  assert.equal(event.count, 1);
  pulled.resolve({ id: "sha256:big" });
  await node.when("big", (pod) => pod.status?.phase === "Running");
  await node.event("big", "Pulling", `Pulling image "${reference}"`);
  assert.deepEqual(
    pulling().map(({ count }) => count),
    [1],
  );
});
