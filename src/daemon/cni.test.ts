import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { writeNetwork, type NetworkOptions } from "./cni.ts";

const dir = mkdtempSync(join(tmpdir(), "orlop-cni-"));
after(() => rmSync(dir, { recursive: true, force: true }));

const at = (node: string): NetworkOptions => ({
  runDir: join(dir, node),
  dataDir: join(dir, node, "data"),
  confDir: join(dir, node, "conf"),
  binDir: "/usr/lib/cni",
});

test("two nodes have two bridges and two subnets; a node keeps its own", () => {
  const a = writeNetwork(at("a"));
  const b = writeNetwork(at("b"));
  assert.notEqual(a.name, b.name);
  assert.notEqual(a.subnet, b.subnet);
  assert.deepEqual(writeNetwork(at("a")), a);
  for (const { name, subnet } of [a, b]) {
    assert.ok(Buffer.byteLength(name) <= 15);
    assert.match(subnet, /^10\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.\d{1,3}\.0\/24$/);
  }
});

test("containerd finds one whole file, with the bridge, the subnet and the node's own records", () => {
  const { name, subnet } = writeNetwork(at("c"));
  assert.deepEqual(readdirSync(at("c").confDir), ["10-orlop.conflist"]);
  const { plugins } = JSON.parse(readFileSync(join(at("c").confDir, "10-orlop.conflist"), "utf8")) as {
    plugins: { type: string; bridge?: string; ipam?: { ranges: { subnet: string }[][]; dataDir: string } }[];
  };
  assert.deepEqual(
    plugins.map(({ type }) => type),
    ["bridge", "portmap"],
  );
  assert.equal(plugins[0]?.bridge, name);
  assert.deepEqual(plugins[0]?.ipam?.ranges, [[{ subnet }]]);
  assert.ok(plugins[0]?.ipam?.dataDir.startsWith(at("c").dataDir));
});
