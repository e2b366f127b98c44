// What containerd tells of processes that end: containers and sandboxes, but not what is run in them beside.
import assert from "node:assert/strict";
import { test } from "node:test";
import { containerExits } from "#wire";
import { startCriNode } from "../support/cri-node.ts";
import { createWorld, pushObjects, WORKLOAD } from "../support/orlop.ts";

test("containerd tells which containers and sandboxes end, and does not tell of an exec", async () => {
  await using world = await createWorld();
  pushObjects(world);
  await using node = await startCriNode(world);
  const sandbox = await node.sandbox("exits");
  const [first, second] = [await node.run(sandbox, "first", []), await node.run(sandbox, "second", [])];

  const listening = new AbortController();
  const exits = containerExits(node.containerd.socket, { signal: listening.signal });
  const probes = new Set<unknown>();
  const next = async (): Promise<unknown> => {
    for (;;) {
      const { value, done } = await exits.next();
      if (done || !probes.has(value)) return value;
    }
  };
  // Nothing says when the subscription holds: what ends until then is not told. What is told late is skipped afterwards.
  const probeTold = exits.next();
  for (let told: unknown; told === undefined;) {
    const { containerId } = await node.client.createContainer({
      podSandboxId: sandbox,
      sandboxConfig: node.configOf(sandbox),
      config: {
        metadata: { name: `probe-${process.hrtime.bigint()}` },
        image: { image: WORKLOAD },
        command: ["true"],
        logPath: "probe.log",
      },
    });
    probes.add(containerId);
    await node.client.startContainer({ containerId });
    told = await Promise.race([probeTold, node.sh(first, "sleep 1").then(() => undefined)]);
  }
  assert.ok(probes.has((await probeTold).value));

  const heard = next();
  assert.equal((await node.sh(first, "exit 3")).code, 3);
  await node.client.stopContainer({ containerId: second, timeout: 0n });
  assert.equal(await heard, second);
  await node.client.stopPodSandbox({ podSandboxId: sandbox });
  const both = [await next(), await next()];
  assert.deepEqual(new Set(both), new Set([first, sandbox]));
  listening.abort();
  await assert.rejects(next());
});
