import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { Holder, livingHolders } from "./holder.ts";

test("a holder lives from its first moment, though others look who is alive all the time", async () => {
  const dir = mkdtempSync(join(tmpdir(), "orlop-holder-"));
  const watching = new SharedArrayBuffer(4);
  const watcher = new Worker(
    `const { workerData } = require("node:worker_threads");
     import(workerData.module).then(({ livingHolders }) => {
       const state = new Int32Array(workerData.watching);
       Atomics.store(state, 0, 1);
       Atomics.notify(state, 0);
       while (Atomics.load(state, 0) === 1) livingHolders(workerData.dir);
     });`,
    { eval: true, workerData: { module: new URL("./holder.ts", import.meta.url).href, dir, watching } },
  );
  const ended = once(watcher, "exit");
  const state = new Int32Array(watching);
  try {
    await Atomics.waitAsync(state, 0, 0).value;
    for (let i = 0; i < 2000; i++) {
      using holder = new Holder(dir);
      assert.ok(readdirSync(dir).includes(holder.id), `holder ${i} is there`);
      assert.ok(livingHolders(dir).has(holder.id), `holder ${i} lives`);
    }
    assert.deepEqual(readdirSync(dir), []);
  } finally {
    Atomics.store(state, 0, 2);
    await ended;
    rmSync(dir, { recursive: true, force: true });
  }
});
