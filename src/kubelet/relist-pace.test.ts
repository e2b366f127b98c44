import assert from "node:assert/strict";
import { EventEmitter, on } from "node:events";
import { test } from "node:test";
import { Failure, silent } from "#base";
import { RelistPace, type RuntimeEvents } from "./relist-pace.ts";

/** A pace over events that the test makes, and what it asked for. */
function paceOver(events: RuntimeEvents) {
  const asked: number[] = [];
  const told = new EventEmitter();
  const onEvent = (delayMs: number): void => {
    asked.push(delayMs);
    told.emit("told");
  };
  return { asked, told, pace: new RelistPace({ events, pollMs: 40, quietMs: 1000, onEvent, log: silent }) };
}

test("after an event the runtime is looked at soon, and then less and less often", async () => {
  const runtime = new EventEmitter();
  const { asked, told, pace } = paceOver((call) => on(runtime, "exit", call.signal ? { signal: call.signal } : {}));
  await using _ = pace;
  for (const round of [1, 2]) {
    const heard = new Promise((resolve) => told.once("told", resolve));
    runtime.emit("exit");
    await heard;
    assert.deepEqual(
      asked,
      Array.from({ length: round }, () => 50),
    );
    assert.deepEqual(
      [1, 2, 3, 4, 5, 6].map(() => pace.pause()),
      [100, 200, 400, 800, 1000, 1000],
    );
  }
});

test("a runtime that tells nothing is looked at again and again after the same time", async () => {
  let tries = 0;
  const { pace } = paceOver(async function* () {
    tries++;
    yield* [];
    throw new Failure("UNIMPLEMENTED", "RPC_FAILED", "unknown method GetContainerEvents");
  });
  await pace[Symbol.asyncDispose]();
  assert.deepEqual(
    [1, 2, 3].map(() => pace.pause()),
    [40, 40, 40],
  );
  assert.equal(tries, 1);
});

test("when the events break off, looking goes back to the short time until they come again", async () => {
  const begun = new EventEmitter();
  const streams: PromiseWithResolvers<void>[] = [];
  const { told, pace } = paceOver(async function* () {
    const broken = Promise.withResolvers<void>();
    streams.push(broken);
    begun.emit("begun");
    yield "exit";
    await broken.promise;
  });
  await using _ = pace;
  const heardFirst = new Promise((resolve) => told.once("told", resolve));
  await heardFirst;
  assert.equal(pace.pause(), 100);
  const again = new Promise((resolve) => begun.once("begun", resolve));
  streams[0]?.reject(new Error("broken"));
  await new Promise(setImmediate);
  assert.equal(pace.pause(), 40);
  const heard = new Promise((resolve) => told.once("told", resolve));
  await again;
  await heard;
  assert.equal(pace.pause(), 100);
  streams[1]?.resolve();
});
