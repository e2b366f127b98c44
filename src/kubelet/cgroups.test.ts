import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import type { Pod } from "#k8s";
import { createCgroups } from "./cgroups.ts";

const pod = (uid: string, ...resources: object[]): Pod => ({
  metadata: { name: uid, uid },
  spec: { containers: resources.map((one, i) => ({ name: `c${i}`, resources: one })) },
});
const BURSTABLE = { requests: { cpu: "250m", memory: "32Mi" } };
const GUARANTEED = { limits: { cpu: "500m", memory: "64Mi" } };

/** A directory that looks like a cgroup filesystem: its files hold what was last written. */
async function fakeCgroupfs(t: TestContext, files: Readonly<Record<string, string>>) {
  const directory = await mkdtemp(join(tmpdir(), "orlop-cgroups-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  for (const [path, text] of Object.entries(files)) {
    await mkdir(join(directory, path, ".."), { recursive: true });
    await writeFile(join(directory, path), text);
  }
  return { directory, read: (path: string) => readFile(join(directory, path), "utf8") };
}

test("v1: shares, quota and memory of a Pod are set in the hierarchies that have them", async (t) => {
  const { directory, read } = await fakeCgroupfs(t, { "cpu/cgroup.procs": "", "memory/cgroup.procs": "" });
  const cgroups = createCgroups("/orlop-n", "cgroupfs", directory);
  await cgroups.prepare(pod("g", GUARANTEED, GUARANTEED));
  assert.equal(cgroups.parentOf(pod("g", GUARANTEED)), "/orlop-n/kubepods/podg");
  assert.equal(await read("cpu/orlop-n/kubepods/podg/cpu.shares"), "1024");
  assert.equal(await read("cpu/orlop-n/kubepods/podg/cpu.cfs_period_us"), "100000");
  assert.equal(await read("cpu/orlop-n/kubepods/podg/cpu.cfs_quota_us"), "100000");
  assert.equal(await read("memory/orlop-n/kubepods/podg/memory.limit_in_bytes"), String(128 << 20));
});

test("v1: burstable Pods weigh together what they request, and are limited where all their containers are", async (t) => {
  const { directory, read } = await fakeCgroupfs(t, { "cpu/cgroup.procs": "", "memory/cgroup.procs": "" });
  const cgroups = createCgroups("/orlop-n", "cgroupfs", directory);
  await cgroups.prepare(pod("a", BURSTABLE));
  await cgroups.prepare(pod("b", { ...BURSTABLE, limits: { memory: "48Mi" } }, { limits: { cpu: "1" } }));
  await cgroups.prepare(pod("idle", {}));
  const at = "orlop-n/kubepods/burstable";
  assert.equal(await read(`cpu/${at}/poda/cpu.shares`), "256");
  assert.equal(await read(`cpu/${at}/podb/cpu.shares`), "1280");
  assert.equal(await read(`cpu/${at}/podb/cpu.cfs_quota_us`), "-1");
  assert.equal(await read(`memory/${at}/podb/memory.limit_in_bytes`), "-1");
  assert.equal(await read(`cpu/${at}/cpu.shares`), "1536");
  assert.equal(await read("cpu/orlop-n/kubepods/besteffort/cpu.shares"), "2");
  assert.equal(await read("cpu/orlop-n/kubepods/besteffort/podidle/cpu.shares"), "2");
  assert.deepEqual((await cgroups.list()).toSorted(), ["a", "b", "idle"]);
});

test("v2: weight, max and memory.max, and the controllers enabled on the way", async (t) => {
  const { directory, read } = await fakeCgroupfs(t, { "cgroup.controllers": "cpuset cpu io memory pids rdma" });
  const cgroups = createCgroups("/orlop-n", "cgroupfs", directory);
  await cgroups.prepare(pod("g", GUARANTEED));
  assert.equal(await read("cgroup.subtree_control"), "+cpuset +cpu +io +memory +pids");
  const at = "orlop-n/kubepods/podg";
  assert.equal(await read(`${at}/cpu.weight`), "20");
  assert.equal(await read(`${at}/cpu.max`), "50000 100000");
  assert.equal(await read(`${at}/memory.max`), String(64 << 20));
  await cgroups.prepare(pod("b", BURSTABLE));
  assert.equal(await read("orlop-n/kubepods/burstable/podb/cpu.max"), "max 100000");
  assert.equal(await read("orlop-n/kubepods/burstable/podb/memory.max"), "max");
  assert.equal(
    await read("orlop-n/kubepods/burstable/cpu.weight"),
    await read("orlop-n/kubepods/burstable/podb/cpu.weight"),
  );
});

test("hybrid: v1 where a controller is there, and the unified hierarchy left alone where it has none", async (t) => {
  const { directory, read } = await fakeCgroupfs(t, {
    "cpu/cgroup.procs": "",
    "memory/cgroup.procs": "",
    "unified/cgroup.controllers": "",
  });
  await createCgroups("/orlop-n", "cgroupfs", directory).prepare(pod("g", GUARANTEED));
  assert.equal(await read("cpu/orlop-n/kubepods/podg/cpu.shares"), "512");
  assert.ok(!existsSync(join(directory, "unified/orlop-n")));
});

test("what a Pod says of itself as a whole goes before its containers, and makes its class", async (t) => {
  const { directory, read } = await fakeCgroupfs(t, { "cpu/cgroup.procs": "", "memory/cgroup.procs": "" });
  const cgroups = createCgroups("/orlop-n", "cgroupfs", directory);
  const whole = pod("w", BURSTABLE, {});
  Object.assign(whole.spec ?? {}, { resources: { limits: { cpu: "2", memory: "1Gi" } } });
  await cgroups.prepare(whole);
  const at = "orlop-n/kubepods/podw";
  assert.equal(await read(`cpu/${at}/cpu.shares`), "2048");
  assert.equal(await read(`cpu/${at}/cpu.cfs_quota_us`), "200000");
  assert.equal(await read(`memory/${at}/memory.limit_in_bytes`), String(2 ** 30));
});

test("init containers count one after another, sidecars beside all, and overhead on top", async (t) => {
  const { directory, read } = await fakeCgroupfs(t, { "cpu/cgroup.procs": "" });
  const many: Pod = {
    metadata: { uid: "m" },
    spec: {
      initContainers: [
        { name: "side", restartPolicy: "Always", resources: { requests: { cpu: "1" } } },
        { name: "init", resources: { requests: { cpu: "3" } } },
      ],
      containers: [{ name: "a", resources: { requests: { cpu: "2" } } }],
      overhead: { cpu: "500m" },
    },
  };
  await createCgroups("/orlop-n", "cgroupfs", directory).prepare(many);
  assert.equal(await read("cpu/orlop-n/kubepods/burstable/podm/cpu.shares"), String(4.5 * 1024));
});

test("with the systemd driver a Pod's slice is named after its class, and limits of the whole Pod are refused", async () => {
  const cgroups = createCgroups("/orlop-n", "systemd");
  assert.equal(cgroups.parentOf(pod("1-2", BURSTABLE)), "orlop_n-kubepods-burstable-pod1_2.slice");
  await cgroups.prepare(pod("1-2", BURSTABLE));
  const whole = pod("1-2");
  Object.assign(whole.spec ?? {}, { resources: { limits: { cpu: "2" } } });
  await assert.rejects(cgroups.prepare(whole), /systemd cgroup driver/);
});

const REAL = "/sys/fs/cgroup";
const isReal = process.getuid?.() === 0 && existsSync(join(REAL, "memory/cgroup.procs"));

test(
  "on this machine: limits are the kernel's, and what is left of a Pod goes, its processes too",
  { skip: !isReal },
  async (t) => {
    const root = `orlop-test-${process.pid}`;
    const cgroups = createCgroups(`/${root}`, "cgroupfs");
    t.after(() => cgroups.remove("real"));
    await cgroups.prepare(pod("real", GUARANTEED));
    const group = join(REAL, "memory", root, "kubepods/podreal");
    assert.equal(Number(await readFile(join(group, "memory.limit_in_bytes"), "utf8")), 64 << 20);
    const child = spawn("sleep", ["600"], { stdio: "ignore" });
    const ended = once(child, "exit");
    await mkdir(join(group, "container"));
    await writeFile(join(group, "container/cgroup.procs"), String(child.pid));
    assert.deepEqual(await cgroups.list(), ["real"]);
    await cgroups.remove("real");
    await ended;
    assert.deepEqual(await cgroups.list(), []);
    assert.ok(!existsSync(join(REAL, "memory", root)) && !existsSync(join(REAL, "cpu", root)));
  },
);
