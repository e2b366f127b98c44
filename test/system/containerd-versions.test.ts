// The main job on the containerds of Debian's later suites. Their shims find themselves by their own path, which a loader
// hides, so the shim and the runc are this machine's: containerd keeps to their older protocol.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { debianProgram } from "../support/debian.ts";
import { createWorld, leftovers, pushObjects, startUp, type Ran, type World } from "../support/orlop.ts";

const POD = join(import.meta.dirname, "../../examples/pod.yaml");

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

function out(result: Ran): string {
  assert.equal(result.code, 0, `${result.out}${result.err}`);
  return result.out;
}

for (const [suite, version] of [
  ["trixie", "1.7"],
  ["sid", "2."],
] as const)
  test(`an image volume on containerd ${version} of ${suite}`, async () => {
    const words = debianProgram(suite, "containerd", "usr/bin/containerd");
    world.file(`bin-${suite}/containerd`, `#!/bin/sh\nexec ${words.join(" ")} "$@"\n`, 0o755);
    const env = { ...process.env, PATH: `${join(world.dir, `bin-${suite}`)}:${process.env["PATH"] ?? ""}` };
    await using up = await startUp(world, { node: suite, env });
    const runtime = "jsonpath={.items[0].status.nodeInfo.containerRuntimeVersion}";
    assert.ok(out(up.kubectl("get", "nodes", "-o", runtime)).startsWith(`containerd://${version}`));
    out(up.kubectl("apply", "-f", POD));
    out(up.kubectl("wait", "--for=condition=Ready", "pod/pod", "--timeout=60s"));
    assert.equal(out(up.kubectl("exec", "pod", "--", "cat", "/volume/file", "/volume/dir/file")), "2\n1\n");
    assert.match(out(up.kubectl("exec", "pod", "--", "mount")), / on \/volume type erofs \(ro,nosuid,nodev,noexec,/);
    out(up.kubectl("delete", "pod", "pod", "--timeout=60s"));
  });
