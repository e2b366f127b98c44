import assert from "node:assert/strict";
import { test } from "node:test";
import { createMetrics } from "./metrics.ts";
import { countPull, forgetPull } from "./pull-metrics.ts";

test("a pull under way is counted as a whole and by its blobs, and one that is over is not", async () => {
  const metrics = createMetrics();
  const counted = async () =>
    (await metrics.registry.metrics()).split("\n").filter((line) => /^orlop_kubelet_pull_(?!.*# )/.test(line));
  const progress = {
    received: 5,
    total: 16,
    blobs: [
      { digest: "sha256:a", received: 3, total: 12 },
      { digest: "sha256:b", received: 2, total: 4 },
    ],
  };
  countPull(metrics, "x:v1", progress, 2.5);
  assert.deepEqual((await counted()).sort(), [
    'orlop_kubelet_pull_blob_received_bytes{image="x:v1",digest="sha256:a"} 3',
    'orlop_kubelet_pull_blob_received_bytes{image="x:v1",digest="sha256:b"} 2',
    'orlop_kubelet_pull_blob_total_bytes{image="x:v1",digest="sha256:a"} 12',
    'orlop_kubelet_pull_blob_total_bytes{image="x:v1",digest="sha256:b"} 4',
    'orlop_kubelet_pull_bytes_per_second{image="x:v1"} 2.5',
    'orlop_kubelet_pull_received_bytes{image="x:v1"} 5',
    'orlop_kubelet_pull_total_bytes{image="x:v1"} 16',
  ]);
  forgetPull(metrics, "x:v1", progress);
  assert.deepEqual(await counted(), []);
});
