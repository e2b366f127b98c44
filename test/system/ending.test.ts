// How a node ends whose Pods would rather not.
import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, test } from "node:test";
import {
  createWorld,
  leftovers,
  pushObjects,
  startUp,
  until,
  type Up,
  WORKLOAD,
  type World,
} from "../support/orlop.ts";

let world: World;
before(async () => {
  world = await createWorld();
  pushObjects(world);
});
after(async () => {
  const left = leftovers(world);
  await world[Symbol.asyncDispose]();
  assert.deepEqual(left, []);
});

/** A Pod whose container ignores SIGTERM. */
async function runStubborn(up: Up, graceSeconds: number): Promise<void> {
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "stubborn" },
    spec: {
      terminationGracePeriodSeconds: graceSeconds,
      containers: [{ name: "a", image: WORKLOAD, args: ["-c", "trap '' TERM; echo here; while :; do sleep 1; done"] }],
    },
  };
  const applied = up.kubectl("apply", "-f", world.file("stubborn.json", JSON.stringify(pod)));
  assert.equal(applied.code, 0, applied.err);
  await until("the Pod ignores SIGTERM", () => up.kubectl("logs", "stubborn").out === "here\n" || undefined);
}

/** Fails where the node has not ended after so many seconds. */
async function ended(up: Up, seconds: number): Promise<number | null> {
  const { child } = up;
  if (child.exitCode === null) await once(child, "exit", { signal: AbortSignal.timeout(seconds * 1000) });
  return child.exitCode;
}

test("SIGTERM ends the node when the grace period of its Pods is over, and the next start runs them again", async () => {
  {
    await using up = await startUp(world);
    await runStubborn(up, 2);
    up.child.kill("SIGTERM");
    assert.equal(await ended(up, 15), 0);
    assert.deepEqual(leftovers(world), []);
  }
  await using up = await startUp(world);
  const running = () =>
    up.kubectl("get", "pod", "stubborn", "-o", "jsonpath={.status.containerStatuses[0].restartCount}").out === "1" ||
    undefined;
  await until("the Pod runs again", running);
  assert.equal(up.kubectl("delete", "pod", "stubborn", "--timeout=40s").code, 0);
});

test("a second SIGTERM ends the node at once; the next start takes its Pods over", async () => {
  let uid: string;
  const uidOf = (up: Up): string => up.kubectl("get", "pod", "stubborn", "-o", "jsonpath={.metadata.uid}").out;
  {
    await using up = await startUp(world);
    await runStubborn(up, 600);
    uid = uidOf(up);
    up.child.kill("SIGTERM");
    const killing = () => up.kubectl("get", "events").out.includes("Stopping container a") || undefined;
    await until("its Pods are being stopped", killing);
    up.child.kill("SIGTERM");
    assert.equal(await ended(up, 5), 130);
  }
  await using up = await startUp(world);
  assert.equal(uidOf(up), uid);
  assert.equal(up.kubectl("delete", "pod", "stubborn", "--grace-period=1", "--timeout=40s").code, 0);
});
