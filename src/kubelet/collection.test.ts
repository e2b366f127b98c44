import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { silent } from "#base";
import { ImageCollector, type ImageCollectorOptions } from "./image-gc.ts";
import { rotateLog } from "./log-rotation.ts";
import { createMetrics } from "./metrics.ts";
import { openPullRecords } from "./pull-records.ts";
import { readLog } from "./read-log.ts";
import { fakeRuntime } from "./testing/fake-runtime.ts";
import { startNode } from "./testing/node.ts";

async function collector(options: Partial<ImageCollectorOptions>) {
  const directory = await mkdtemp(join(tmpdir(), "orlop-gc-"));
  const runtime = fakeRuntime();
  Object.assign(runtime, { imageFsInfo: async () => ({ imageFilesystems: [{ fsId: { mountpoint: "/images" } }] }) });
  const told: string[] = [];
  let clock = 1_000_000;
  const collector = new ImageCollector({
    runtime,
    records: await openPullRecords({
      directory,
      policy: "NeverVerify",
      allowlist: [],
      images: async () => [],
      now: () => clock,
    }),
    metrics: createMetrics(),
    recorder: {
      event: (_, type, reason, message) => void told.push(`${type} ${reason} ${message}`),
      amend: () => {},
      flush: async () => {},
      [Symbol.asyncDispose]: async () => {},
    },
    node: { kind: "Node", name: "node" },
    log: silent,
    needed: () => [],
    space: async () => ({ capacity: 1000, available: 100, inodes: 0, inodesFree: 0 }),
    now: () => clock,
    highPercent: 85,
    lowPercent: 80,
    minAgeMs: 120_000,
    maxAgeMs: 0,
    ...options,
  });
  return {
    collector,
    runtime,
    told,
    pass: (ms: number) => (clock += ms),
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
}

test("a full disk loses the images that were unused longest, and only until there is room", async () => {
  await using gc = await collector({});
  for (const name of ["a", "b", "c"]) gc.runtime.images.set(`${name}:1`, { id: `sha256:${name}`, size: 60n });
  await gc.collector.collect();
  assert.equal(gc.runtime.images.size, 3, "what was seen just now may be about to be used");
  gc.pass(130_000);
  await gc.collector.collect();
  // 90 % in use, 80 % wanted: 100 bytes, which is two images.
  assert.deepEqual([...gc.runtime.images.keys()], ["c:1"]);
  assert.deepEqual(gc.told.slice(1), []);
});

test("what a Pod needs is never collected, and that it does not suffice is told", async () => {
  await using gc = await collector({ needed: () => ["sha256:volume"] });
  gc.runtime.images.set("volume:1", { id: "sha256:volume", size: 900n });
  gc.runtime.images.set("old:1", { id: "sha256:old", size: 10n });
  await gc.collector.collect();
  gc.pass(130_000);
  await gc.collector.collect();
  assert.deepEqual([...gc.runtime.images.keys()], ["volume:1"]);
  assert.equal(
    gc.told.at(-1),
    "Warning FreeDiskSpaceFailed Failed to garbage collect required amount of images. Attempted to free 100 bytes, but only found 10 bytes eligible to free.",
  );
});

test("a disk with room keeps everything, but for what is too old", async () => {
  await using gc = await collector({
    space: async () => ({ capacity: 1000, available: 500, inodes: 0, inodesFree: 0 }),
    maxAgeMs: 600_000,
  });
  gc.runtime.images.set("old:1", { id: "sha256:old" });
  await gc.collector.collect();
  gc.pass(300_000);
  await gc.collector.collect();
  assert.equal(gc.runtime.images.size, 1);
  gc.pass(301_000);
  await gc.collector.collect();
  assert.equal(gc.runtime.images.size, 0);
});

test("the volume of a running Pod outlives a node whose disk is always full", async () => {
  await using node = await startNode({
    imageGCPeriod: 10,
    imageMinimumGCAge: 300,
    imageGCHighThresholdPercent: 0,
    imageGCLowThresholdPercent: 0,
  });
  Object.assign(node.runtime, { imageFsInfo: async () => ({ imageFilesystems: [{ fsId: { mountpoint: "/" } }] }) });
  node.runtime.onPull = (reference) => ({ id: `sha256:${reference}` });
  node.runtime.images.set("unused:1", { id: "sha256:unused" });
  node.apply("web", {
    containers: [{ name: "a", image: "busybox:1", volumeMounts: [{ name: "v", mountPath: "/v" }] }],
    volumes: [{ name: "v", image: { reference: "quay.io/crio/artifact:v1" } }],
  });
  await node.when("web", (pod) => pod.status?.phase === "Running");
  await node.runtime.until(() => !node.runtime.images.has("unused:1"));
  const removed = node.runtime.calls.filter((call) => call.startsWith("removeImage") && call.includes("artifact"));
  assert.deepEqual(removed, []);
});

test("a log that is too big is moved aside; of those aside all but the newest are compressed, and few are kept", async () => {
  const directory = await mkdtemp(join(tmpdir(), "orlop-logs-"));
  try {
    const path = join(directory, "pod", "0.log");
    await mkdir(join(directory, "pod"));
    const line = (text: string): string => `2026-11-23T10:00:00Z stdout F ${text}\n`;
    const reopen = (): Promise<void> => writeFile(path, "");
    await writeFile(path, line("1"));
    await rotateLog(path, { maxBytes: 1 << 20, maxFiles: 3 }, () => assert.fail("small logs stay"), 0);
    for (const [i, text] of ["1", "2", "3", "4"].entries()) {
      await writeFile(path, line(text));
      await rotateLog(path, { maxBytes: 1, maxFiles: 3 }, reopen, Date.UTC(2026, 10, 23, 10, 0, i));
    }
    assert.deepEqual((await readdir(join(directory, "pod"))).sort(), [
      "0.log",
      "0.log.20261123-100002.gz",
      "0.log.20261123-100003",
    ]);
    await writeFile(path, line("5"));
    let text = "";
    for await (const bytes of readLog(path, {})) text += String(bytes);
    assert.equal(text, "3\n4\n5\n");

    await assert.rejects(rotateLog(path, { maxBytes: 1, maxFiles: 3 }, () => Promise.reject(new Error("down")), 0));
    assert.equal(await readFile(path, "utf8"), line("5"), "a runtime that does not reopen goes on in the old file");
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});
