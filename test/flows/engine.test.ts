import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { isFailure } from "#base";
import { linuxKernel } from "#kernel";
import { startRegistry, type DockerRegistry } from "../support/docker-registry.ts";
import { startEngine, type TestEngine } from "../support/engine.ts";

let registry: DockerRegistry;
before(async () => {
  registry = await startRegistry();
});
after(async () => {
  await registry.stop();
});

/** The two files of the Kubernetes 1.31 announcement, in the working directory that is pushed from. */
function announcement(dir: string): string[] {
  mkdirSync(join(dir, "content/dir"), { recursive: true });
  writeFileSync(join(dir, "content/dir/file"), "1\n");
  writeFileSync(join(dir, "content/file"), "2\n");
  return [join(dir, "content/dir"), join(dir, "content/file")];
}

function emptyDirectory({ dir }: TestEngine, name: string): string {
  const path = join(dir, name);
  mkdirSync(path);
  return path;
}

function optionsOf(target: string): readonly string[] {
  return (
    linuxKernel()
      .mounts()
      .findLast((entry) => entry.target === target)?.options ?? []
  );
}

for (const mounter of ["erofs", "directory"] as const) {
  test(`${mounter}: an artifact that was pushed is pulled, listed, mounted read-only, unmounted and removed`, async () => {
    await using node = await startEngine({ mounter });
    const { engine, dir } = node;
    const reference = `${registry.host}/crio/artifact:${mounter}`;
    const pushed = await engine.push({ reference, paths: announcement(dir) });
    const pulled = await engine.pull({ reference });
    assert.equal(pulled.digest, pushed.digest);
    assert.equal(pulled.isImage, false);
    assert.deepEqual(pulled.references, [reference]);
    assert.deepEqual(pulled.repoDigests, [`${registry.host}/crio/artifact@${pushed.digest}`]);
    assert.deepEqual(
      (await engine.list()).map(({ digest }) => digest),
      [pushed.digest],
    );
    assert.equal((await engine.find(`${registry.host}/crio/artifact@${pushed.digest}`))?.digest, pushed.digest);

    const target = emptyDirectory(node, "volume");
    const request = { owner: "pod", digest: pulled.digest, target };
    await engine.publish(request);
    await engine.publish(request);
    assert.deepEqual(readdirSync(target).sort(), ["dir", "file"]);
    assert.equal(readFileSync(join(target, "dir/file"), "utf8"), "1\n");
    assert.equal(readFileSync(join(target, "file"), "utf8"), "2\n");
    for (const option of ["ro", "nosuid", "nodev", "noexec"]) assert.ok(optionsOf(target).includes(option), option);
    assert.throws(() => writeFileSync(join(target, "x"), ""), { code: "EROFS" });
    assert.equal(
      linuxKernel()
        .mounts()
        .filter((entry) => entry.target === target).length,
      1,
    );
    assert.deepEqual(await engine.volumes(), [{ ...request, subPath: "", exec: false, mounted: true }]);

    await assert.rejects(engine.remove(reference), (error) => isFailure(error, "IN_USE"));
    await engine.unpublish("pod", target);
    await engine.unpublish("pod", target);
    assert.deepEqual(readdirSync(target), []);
    assert.deepEqual(await engine.volumes(), []);
    await engine.remove(reference);
    assert.deepEqual(await engine.list(), []);
    assert.deepEqual(readdirSync(join(dir, "data/v1/blobs/sha256")), []);
    assert.deepEqual(readdirSync(join(dir, "data/v1/ingests")), []);
    assert.deepEqual(readdirSync(join(dir, "run/mounts")), []);
  });

  test(`${mounter}: a subPath is a directory or a file of the volume, and a program runs only where it was asked for`, async () => {
    await using node = await startEngine({ mounter });
    const { engine, dir } = node;
    const reference = `${registry.host}/subpath:${mounter}`;
    const root = emptyDirectory(node, "root");
    mkdirSync(join(root, "bin"));
    writeFileSync(join(root, "bin/hello"), "#!/bin/sh\necho hello\n", { mode: 0o755 });
    symlinkSync("bin", join(root, "programs"));
    symlinkSync("../../..", join(root, "out"));
    await engine.push({ reference, paths: [root], image: {} });
    const { digest, isImage } = await engine.pull({ reference });
    assert.equal(isImage, true);

    const programs = emptyDirectory(node, "programs");
    await engine.publish({ owner: "a", digest, target: programs, subPath: "programs", exec: true });
    assert.equal(execFileSync(join(programs, "hello"), { encoding: "utf8" }), "hello\n");
    const file = join(dir, "hello");
    writeFileSync(file, "");
    await engine.publish({ owner: "a", digest, target: file, subPath: "bin/hello" });
    assert.equal(readFileSync(file, "utf8"), "#!/bin/sh\necho hello\n");
    assert.throws(() => execFileSync(file), { code: "EACCES" });

    const other = emptyDirectory(node, "other");
    const refused = async (subPath: string, reason: string) => {
      await assert.rejects(engine.publish({ owner: "a", digest, target: other, subPath }), (e) => isFailure(e, reason));
    };
    await refused("out", "UNSAFE_PATH");
    await refused("../x", "UNSAFE_PATH");
    await refused("bin/none", "SUBPATH_NOT_FOUND");
    await refused("bin/hello", "TARGET_WRONG_KIND");
    assert.equal((await engine.volumes()).length, 2);
    await engine.unpublish("a");
    assert.deepEqual(readdirSync(join(dir, "run/mounts")), []);
  });
}

test("a gzip layer is stored as its plain tar, and checked against both digests", async () => {
  await using node = await startEngine();
  const { engine, dir } = node;
  const root = emptyDirectory(node, "root");
  writeFileSync(join(root, "big"), Buffer.alloc(3_000_000, "orlop"));
  const reference = `${registry.host}/gzip:v1`;
  for (const compression of ["gzip", "zstd", "none"] as const) {
    await engine.push({ reference, paths: [root], image: {}, compression });
    const { digest } = await engine.pull({ reference });
    const target = emptyDirectory(node, compression);
    await engine.publish({ owner: compression, digest, target });
    assert.deepEqual(readFileSync(join(target, "big")), readFileSync(join(root, "big")));
  }
  const blobs = readdirSync(join(dir, "data/v1/blobs/sha256"));
  assert.equal(blobs.length, 1, "three packings of one tar are one blob");
  for (const owner of ["gzip", "zstd", "none"]) await engine.unpublish(owner);
});

test("a target that is missing, relative, not empty or taken is refused, and nothing is left of it", async () => {
  await using node = await startEngine();
  const { engine, dir } = node;
  const reference = `${registry.host}/target:v1`;
  await engine.push({ reference, paths: announcement(dir) });
  const { digest } = await engine.pull({ reference });
  const refused = async (target: string, reason: string, owner = "pod") => {
    await assert.rejects(engine.publish({ owner, digest, target }), (error) => isFailure(error, reason), reason);
  };
  await refused("volume", "INVALID_TARGET");
  await refused(join(dir, "missing"), "TARGET_MISSING");
  await refused(join(dir, "content"), "TARGET_NOT_EMPTY");
  assert.deepEqual(await engine.volumes(), []);
  assert.deepEqual(readdirSync(join(dir, "run/mounts")), []);
  const target = emptyDirectory(node, "volume");
  await engine.publish({ owner: "pod", digest, target });
  await refused(target, "TARGET_IN_USE", "another");
  await engine.unpublish("pod");
});

test("the same files give the same object; a symlink that is named stands for what it points to", async () => {
  await using node = await startEngine();
  const { engine, dir } = node;
  const [first = "", second = ""] = announcement(dir);
  symlinkSync(first, join(dir, "link"));
  const push = (tag: string, paths: readonly string[]) =>
    engine.push({ reference: `${registry.host}/same:${tag}`, paths, annotations: { a: "b" } });
  const one = await push("one", [first, second]);
  assert.equal((await push("two", [first, second])).digest, one.digest);
  await push("link", [join(dir, "link")]);
  const { digest } = await engine.pull({ reference: `${registry.host}/same:link` });
  const { tree, object, manifest } = await engine.inspect(digest);
  assert.deepEqual(
    tree.map(({ path, kind, mode }) => [path, kind, mode]),
    [
      ["", "directory", "0755"],
      ["link", "directory", "0755"],
      ["link/file", "file", "0644"],
    ],
  );
  assert.equal(object.packaging, "oras");
  assert.equal(manifest.layers[0]?.annotations?.["io.deis.oras.content.unpack"], "true");
  const refused = async (paths: readonly string[], reason: string) => {
    await assert.rejects(push("refused", paths), (error) => isFailure(error, reason), reason);
  };
  await refused([], "NOTHING_TO_PUSH");
  await refused([join(dir, "none")], "NO_SUCH_FILE");
  await refused([first, first], "SAME_NAME");
  await refused(["/dev/null"], "NOT_A_FILE");
});
