// Our own containerd: it outlives us, is taken over, and comes back when it dies.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, beforeEach, test } from "node:test";
import { silent } from "#base";
import { linuxKernel } from "#kernel";
import { createCriClient } from "#wire";
import { startContainerd, type ContainerdOptions } from "../../src/daemon/containerd.ts";
import { ran, until } from "../support/orlop.ts";

const dir = mkdtempSync("/run/orlop-containerd-");
after(() => rmSync(dir, { recursive: true, force: true }));

let options: ContainerdOptions;
let count = 0;
beforeEach(() => {
  const base = join(dir, String(count++));
  mkdirSync(base);
  options = {
    dataDir: join(base, "data"),
    runDir: join(base, "run"),
    sandboxImage: "registry.k8s.io/pause:3.10",
    log: silent,
  };
});

const isAlive = (pid: number): boolean => existsSync(`/proc/${pid}`);

test("it answers, is taken over by the next start, and ends without a trace", async () => {
  const first = await startContainerd(options);
  using client = createCriClient(first.socket);
  const { status } = await client.status({});
  assert.deepEqual(
    status?.conditions.map(({ type, status }) => [type, status]),
    [
      ["RuntimeReady", true],
      ["NetworkReady", true],
    ],
  );
  const second = await startContainerd(options);
  assert.equal(second.pid, first.pid);
  const { pid } = second;
  assert.equal(await second.stop(), true);
  assert.equal(isAlive(pid), false);
  assert.equal(existsSync(second.socket), false);
  await first[Symbol.asyncDispose]();
});

test("it outlives a SIGKILL of the process that started it", async () => {
  const script = join(options.runDir, "../start.ts");
  const module = join(import.meta.dirname, "../../src/daemon/containerd.ts");
  writeFileSync(
    script,
    `import { startContainerd } from ${JSON.stringify(module)};
     const log = { debug() {}, info() {}, warn() {}, error() {} };
     const { pid } = await startContainerd({ ...${JSON.stringify(options)}, log });
     console.log(pid);
     setInterval(() => {}, 1000);`,
  );
  const child = spawn(process.execPath, [script], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  child.kill("SIGKILL");
  await once(child, "exit");
  await using taken = await startContainerd(options);
  assert.equal(taken.pid, Number(String(line)));
});

test("another configuration restarts it", async () => {
  await using first = await startContainerd(options);
  const { pid } = first;
  await using second = await startContainerd({ ...options, sandboxImage: "registry.k8s.io/pause:3.9" });
  assert.notEqual(second.pid, pid);
  assert.match(readFileSync(join(options.runDir, "containerd.toml"), "utf8"), /pause:3\.9/);
});

test("when it is killed it comes back on the same socket", async () => {
  await using containerd = await startContainerd(options);
  const { pid } = containerd;
  process.kill(pid, "SIGKILL");
  await until("another one runs", () => containerd.pid !== pid || undefined);
  using client = createCriClient(containerd.socket);
  assert.equal((await client.version({})).runtimeName, "containerd");
});

test("where the data directory is an overlay itself, files are copied instead of laid over one another", async () => {
  const [data, upper, work] = [options.dataDir, join(dir, "upper"), join(dir, "work")];
  for (const path of [data, upper, work]) mkdirSync(path);
  const kernel = linuxKernel();
  assert.equal(
    ran(["mount", "-t", "overlay", "-o", `lowerdir=/usr/share,upperdir=${upper},workdir=${work}`, "x", data]).code,
    0,
  );
  try {
    await using containerd = await startContainerd(options);
    assert.match(readFileSync(join(options.runDir, "containerd.toml"), "utf8"), /snapshotter = "native"/);
    using client = createCriClient(containerd.socket);
    const { imageFilesystems } = await client.imageFsInfo({});
    assert.match(imageFilesystems[0]?.fsId?.mountpoint ?? "", /snapshotter\.v1\.native$/);
  } finally {
    kernel.unmount(data);
  }
});

test("a start that fails says why, in containerd's own words", async () => {
  mkdirSync(options.dataDir);
  writeFileSync(join(options.dataDir, "containerd"), "not a directory");
  await assert.rejects(startContainerd(options), {
    reason: "CONTAINERD_FAILED",
    message: /it ended at once\): .*not a directory.*; its log is /,
  });
});

test("what is missing or too long is said before anything starts", async () => {
  await assert.rejects(startContainerd({ ...options, cniBinDir: "/nonexistent" }), {
    reason: "PROGRAM_MISSING",
    message: /apt-get install containernetworking-plugins/,
  });
  await assert.rejects(startContainerd({ ...options, runDir: join(dir, "x".repeat(100)) }), {
    reason: "SOCKET_PATH_TOO_LONG",
  });
  assert.equal(existsSync(join(options.runDir, "containerd.pid")), false);
});

test("a socket of a living stranger is left alone", async () => {
  mkdirSync(options.runDir);
  const socket = join(options.runDir, "containerd.sock");
  const stranger = createServer().listen(socket);
  await once(stranger, "listening");
  try {
    await assert.rejects(startContainerd(options), { reason: "SOCKET_IN_USE" });
  } finally {
    stranger.close();
  }
});
