// A node that is told to keep nearly all memory free: it is under pressure from the start.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  createWorld,
  leftovers,
  pushObjects,
  startUp,
  until,
  WORKLOAD,
  type Up,
  type World,
} from "../support/orlop.ts";

let world: World;
let up: Up;
before(async () => {
  world = await createWorld();
  pushObjects(world);
  up = await startUp(world, { args: ["--eviction-hard", "memory.available<99%"] });
});
after(async () => {
  await up.stop();
  const left = leftovers(world);
  await world[Symbol.asyncDispose]();
  assert.deepEqual(left, []);
});

function kubectl(...args: readonly string[]): string {
  const { code, out, err } = up.kubectl(...args);
  assert.equal(code, 0, `${out}${err}`);
  return out;
}

function apply(name: string, spec: object): void {
  const pod = { apiVersion: "v1", kind: "Pod", metadata: { name }, spec };
  kubectl("apply", "-f", world.file(`${name}.json`, JSON.stringify(pod)));
}

const TAINT = "node.kubernetes.io/memory-pressure";
const field = (name: string, path: string): string => kubectl("get", "pod", name, "-o", `jsonpath={${path}}`);

test("a Pod that does not bear the pressure is not scheduled, and one that does is evicted with the reason", async () => {
  const conditions = "{.status.conditions[?(@.type=='MemoryPressure')].status}";
  assert.equal(kubectl("get", "node", "n", "-o", `jsonpath=${conditions}`), "True");
  await until("the node is tainted", () =>
    kubectl("get", "node", "n", "-o", "jsonpath={.spec.taints[*].key}").includes(TAINT),
  );
  const container = { name: "c", image: WORKLOAD };
  apply("plain", { containers: [container] });
  const scheduled = ".status.conditions[?(@.type=='PodScheduled')].message";
  await until("it is told why", () => field("plain", scheduled).includes(TAINT) || undefined);

  const tolerations = [{ key: TAINT, operator: "Exists" }];
  apply("bold", { tolerations, containers: [{ ...container, resources: { requests: { memory: "1Ki" } } }] });
  await until("it is evicted", () => field("bold", ".status.reason") === "Evicted" || undefined);
  assert.equal(field("bold", ".status.phase"), "Failed");
  const message = field("bold", ".status.message");
  assert.match(message, /^The node was low on resource: memory\. Threshold quantity: \d+\w*, available: \d+\w*\. /);
  assert.match(kubectl("describe", "pod", "bold"), /Warning +Evicted .*The node was low on resource: memory/);
});
