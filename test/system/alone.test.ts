// The parts of `orlop up` one by one, each in a process of its own, as they run beside stock ones.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { silent } from "#base";
import { startContainerd, type Containerd } from "../../src/daemon/containerd.ts";
import { createWorld, leftovers, PAUSE, pushObjects, ran, startUp, until, type World } from "../support/orlop.ts";

const root = join(import.meta.dirname, "../..");
const POD = readFileSync(join(root, "examples/pod.yaml"), "utf8");

let world: World;
let containerd: Containerd;
before(async () => {
  world = await createWorld();
  pushObjects(world);
  const runDir = join(world.runDir, "c");
  mkdirSync(runDir, { recursive: true });
  containerd = await startContainerd({
    dataDir: join(world.dir, "c"),
    runDir,
    certsDir: world.certsDir,
    sandboxImage: PAUSE,
    log: silent,
  });
});
after(async () => {
  const ended = await containerd.stop();
  const left = leftovers(world);
  await world[Symbol.asyncDispose]();
  assert.equal(ended, true, "no sandbox is left running");
  assert.deepEqual(left, []);
});

/** Starts `orlop <words>` and waits for what it says when it is ready. */
async function start(ready: RegExp, ...words: readonly string[]): Promise<AsyncDisposable & { said: string }> {
  const log = join(world.dir, `${words[0] ?? ""}.log`);
  const fd = openSync(log, "w");
  const child = spawn(join(root, "bin/orlop"), [...words, ...world.places("alone")], { stdio: ["ignore", fd, fd] });
  const ended = once(child, "exit");
  const said = await until(`orlop ${words[0] ?? ""}`, () => {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}: ${readFileSync(log, "utf8")}`);
    return ready.exec(readFileSync(log, "utf8"))?.[0];
  });
  return {
    said,
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await ended;
      assert.equal(child.exitCode, 0, readFileSync(log, "utf8"));
    },
  };
}

test("apiserver, cri and kubelet run a Pod with an image volume, each alone", async () => {
  const kubeconfig = join(world.dir, "alone.kubeconfig");
  const kubectl = (...words: string[]): string => {
    const result = ran(["kubectl", "--kubeconfig", kubeconfig, ...words]);
    assert.equal(result.code, 0, `${result.out}${result.err}`);
    return result.out;
  };
  await using _api = await start(/answers at/, "apiserver", "--port", "0", "--kubeconfig", kubeconfig);
  await using _cri = await start(/CRI is served/, "cri", "--containerd", containerd.socket);
  await using _kubelet = await start(/Ready/, "kubelet", "--kubeconfig", kubeconfig, "--node-name", "alone");
  // No scheduler runs here, so the Pod says where it wants to be.
  const pod = world.file("bound.yaml", POD.replace("spec:\n", "spec:\n  nodeName: alone\n"));
  kubectl("apply", "-f", pod);
  kubectl("wait", "--for=condition=Ready", "pod/pod", "--timeout=60s");
  assert.equal(kubectl("exec", "pod", "--", "cat", "/volume/dir/file"), "1\n");
  kubectl("delete", "pod", "pod", "--timeout=60s");
});

test("up uses the containerd it is given, and leaves it running", async () => {
  await using up = await startUp(world, { node: "given", args: ["--containerd", containerd.socket] });
  assert.equal(up.kubectl("apply", "-f", join(root, "examples/pod.yaml")).code, 0);
  const waited = up.kubectl("wait", "--for=condition=Ready", "pod/pod", "--timeout=60s");
  assert.equal(waited.code, 0, waited.err);
  assert.equal(up.kubectl("exec", "pod", "--", "cat", "/volume/file").out, "2\n");
  assert.equal(up.kubectl("delete", "pod", "pod", "--timeout=60s").code, 0);
  await up.stop();
  assert.ok(readFileSync(`/proc/${containerd.pid}/comm`, "utf8").startsWith("containerd"));
});

test("a second orlop up in the same directories says who is there", async () => {
  await using up = await startUp(world, { node: "once" });
  const second = ran([join(root, "bin/orlop"), "up", ...world.places("once"), "--port", "0"]);
  assert.equal(second.code, 1);
  assert.match(second.err, new RegExp(`^orlop: .*${up.child.pid}.*\\n$`));
});
