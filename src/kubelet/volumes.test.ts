import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { lstat, mkdir, mkdtemp, readFile, readlink, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { isFailure } from "#base";
import { writePayload } from "./payload.ts";
import { resolveSubPath } from "./sub-path.ts";
import { startNode } from "./testing/node.ts";

async function inTemporary(work: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "orlop-volumes-"));
  try {
    await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

test("a sub path is made where it is missing, and never leads out of its volume", () =>
  inTemporary(async (directory) => {
    const volume = join(directory, "volume");
    await mkdir(join(volume, "inner"), { recursive: true, mode: 0o777 });
    await writeFile(join(directory, "secret"), "");
    await symlink("../secret", join(volume, "out"));
    await symlink("..", join(volume, "up"));
    await symlink("inner", join(volume, "link"));
    await symlink("../later", join(volume, "dangling"));

    assert.equal(await resolveSubPath(volume, "inner"), join(volume, "inner"));
    assert.equal(await resolveSubPath(volume, "link/new/deep"), join(volume, "inner/new/deep"));
    assert.ok((await stat(join(volume, "inner/new/deep"))).isDirectory());
    for (const escape of ["..", "a/../..", "/etc", "out", "up/secret", "up/new", "dangling", "dangling/x"])
      await assert.rejects(resolveSubPath(volume, escape), (error) => isFailure(error, "UNSAFE_PATH"), escape);
    await assert.rejects(lstat(join(directory, "later")));
    await assert.rejects(lstat(join(directory, "new")));
  }));

test("readers of a payload see the old files or the new ones, under the same names", () =>
  inTemporary(async (directory) => {
    const files = (all: Record<string, string>) =>
      new Map(Object.entries(all).map(([path, text]) => [path, { data: Buffer.from(text), mode: 0o640 }]));
    await writePayload(directory, files({ a: "1", "sub/b": "2" }));
    const before = await readlink(join(directory, "..data"));
    assert.equal(await readFile(join(directory, "sub/b"), "utf8"), "2");
    assert.equal((await stat(join(directory, "a"))).mode & 0o777, 0o640);

    await writePayload(directory, files({ a: "1", "sub/b": "2" }));
    assert.equal(await readlink(join(directory, "..data")), before, "what did not change is not written again");

    await writePayload(directory, files({ a: "one", c: "3" }));
    assert.equal(await readFile(join(directory, "a"), "utf8"), "one");
    assert.equal(await readFile(join(directory, "c"), "utf8"), "3");
    await assert.rejects(lstat(join(directory, "sub")));
    await assert.rejects(lstat(join(directory, before)));
  }));

test("a ConfigMap that changes reaches the volume of a running Pod", async () => {
  await using node = await startNode({ syncFrequency: 20 });
  const put = (color: string): void =>
    void node.api.put("configmaps", { metadata: { name: "settings", namespace: "default" }, data: { color } });
  put("blue");
  const { metadata } = node.apply("web", {
    containers: [{ name: "a", image: "busybox:1", volumeMounts: [{ name: "c", mountPath: "/c" }] }],
    volumes: [{ name: "c", configMap: { name: "settings" } }],
  });
  await node.when("web", (pod) => pod.status?.phase === "Running");
  const path = join(node.directory, "kubelet/pods", metadata?.uid ?? "", "volumes/kubernetes.io~configmap/c/color");
  assert.equal(await readFile(path, "utf8"), "blue");
  put("red");
  await node.runtime.until(() => readFileSync(path, "utf8") === "red");
  assert.equal(node.runtime.created.length, 1);
});
