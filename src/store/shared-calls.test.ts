import assert from "node:assert/strict";
import { test } from "node:test";
import { SharedCalls } from "./shared-calls.ts";
import { Slots } from "./slots.ts";

test("callers of one key share one piece of work, its progress and its result", async () => {
  const calls = new SharedCalls<string, number>();
  const gate = Promise.withResolvers<string>();
  let begun = 0;
  const heard: number[][] = [[], []];
  const work = async (report: (progress: number) => void) => {
    begun++;
    report(1);
    return await gate.promise;
  };
  const first = calls.run("key", work, { onProgress: (progress) => heard[0]?.push(progress) });
  await Promise.resolve();
  await Promise.resolve();
  const second = calls.run("key", work, { onProgress: (progress) => heard[1]?.push(progress) });
  assert.deepEqual([first.started, second.started], [true, false]);
  gate.resolve("done");
  assert.deepEqual(await Promise.all([first.result, second.result]), ["done", "done"]);
  assert.equal(begun, 1);
  assert.deepEqual(heard, [[1], [1]], "who comes later hears how far it is");
  assert.equal(calls.run("key", () => Promise.resolve("again")).started, true);
});

test("who is aborted stops waiting, and the work goes on", async () => {
  const calls = new SharedCalls<string>();
  const gate = Promise.withResolvers<string>();
  const abort = new AbortController();
  const first = calls.run("key", () => gate.promise, { signal: abort.signal });
  const second = calls.run("key", () => gate.promise);
  abort.abort(new Error("enough"));
  await assert.rejects(first.result, /enough/);
  gate.resolve("done");
  assert.equal(await second.result, "done");
  await calls.settled();
});

test("slots are taken in order, and one who is aborted takes none", async () => {
  const slots = new Slots(1);
  const release = await slots.take();
  const abort = new AbortController();
  const aborted = slots.take(abort.signal);
  const order: number[] = [];
  const others = [1, 2].map((i) => slots.take().then((give) => (order.push(i), give())));
  abort.abort(new Error("enough"));
  await assert.rejects(aborted, /enough/);
  release();
  await Promise.all(others);
  assert.deepEqual(order, [1, 2]);
});
