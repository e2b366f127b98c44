import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import {
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { isFailure } from "#base";
import { linuxKernel } from "#kernel";
import { writePayload } from "./payload.ts";
import { openSubPath } from "./sub-path.ts";
import { startNode } from "./testing/node.ts";
import { createVolumes } from "./volumes.ts";

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

    const resolve = async (subPath: string): Promise<string> => {
      await using found = await openSubPath(volume, subPath);
      return await readlink(found.path);
    };
    assert.equal(await resolve("inner"), join(volume, "inner"));
    assert.equal(await resolve("link/new/deep"), join(volume, "inner/new/deep"));
    assert.ok((await stat(join(volume, "inner/new/deep"))).isDirectory());
    for (const escape of ["..", "a/../..", "/etc", "out", "up/secret", "up/new", "dangling", "dangling/x"])
      await assert.rejects(resolve(escape), (error) => isFailure(error, "UNSAFE_PATH"), escape);
    await assert.rejects(lstat(join(directory, "later")));
    await assert.rejects(lstat(join(directory, "new")));
  }));

test("a sub path that was opened stays what it was, whatever takes its name", () =>
  inTemporary(async (directory) => {
    const volume = join(directory, "volume");
    await mkdir(join(volume, "inner"), { recursive: true });
    await writeFile(join(volume, "inner/mine"), "");
    await using found = await openSubPath(volume, "inner");
    await rename(join(volume, "inner"), join(volume, "moved"));
    await symlink("/etc", join(volume, "inner"));
    assert.deepEqual(await readdir(`${found.path}/`), ["mine"]);
  }));

const isPrivileged = process.getuid?.() === 0;

test(
  "a container's sub path is a mount of its own, anew at each start, and gone with the Pod",
  { skip: !isPrivileged },
  () =>
    inTemporary(async (directory) => {
      const kernel = linuxKernel();
      const volumes = createVolumes({ podsDir: join(directory, "pods"), kernel });
      const volumePath = join(directory, "volume");
      await mkdir(join(volumePath, "one"), { recursive: true });
      await writeFile(join(volumePath, "one/a"), "first");
      const mount = "uid/volume-subpaths/v/c/0";
      const path = await volumes.subPath({ volumePath, subPath: "one", mount });
      await rename(join(volumePath, "one"), join(volumePath, "old"));
      await symlink("/etc", join(volumePath, "one"));
      assert.equal(await readFile(join(path, "a"), "utf8"), "first");
      await assert.rejects(volumes.subPath({ volumePath, subPath: "one", mount }), /not within the volume/);
      const file = await volumes.subPath({ volumePath, subPath: "old/a", mount });
      assert.equal(await readFile(file, "utf8"), "first");
      await volumes.teardown("uid");
      assert.ok(!kernel.mounts().some(({ target }) => target.startsWith(directory)));
      assert.equal(await readFile(join(volumePath, "old/a"), "utf8"), "first");
    }),
);

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
