import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import { test } from "node:test";
import { silent } from "#base";
import { machineMeasure, SIGNALS } from "./measure.ts";
import { fakeRuntime } from "./testing/fake-runtime.ts";

test("this machine has some of everything left, and never more than there is", async () => {
  const runtime = fakeRuntime();
  let asked = 0;
  const imageFsInfo = async () => {
    asked++;
    return { imageFilesystems: [{ fsId: { mountpoint: tmpdir() } }] };
  };
  Object.assign(runtime, { imageFsInfo });
  const measure = machineMeasure("/", runtime, silent);
  const measured = await measure();
  for (const signal of SIGNALS) {
    const left = measured[signal];
    // Some filesystems count no inodes.
    if (!left && signal.endsWith("inodesFree")) continue;
    assert.ok(left && left.available > 0 && left.available <= left.capacity, `${signal}: ${JSON.stringify(left)}`);
  }
  await measure();
  assert.equal(asked, 1, "where images lie does not change");
});

test("a runtime that does not answer leaves the rest to be measured", async () => {
  const runtime = fakeRuntime();
  Object.assign(runtime, { imageFsInfo: () => Promise.reject(new Error("down")) });
  const measured = await machineMeasure("/", runtime, silent)();
  assert.equal(measured["imagefs.available"], undefined);
  assert.ok(measured["memory.available"]);
});
