// Objects that the oras client made are mounted as it unpacks them, and what we push it pulls as it was.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { promisify } from "node:util";
import { debianProgram } from "../support/debian.ts";
import { startRegistry, type DockerRegistry } from "../support/docker-registry.ts";
import { startEngine } from "../support/engine.ts";
import { treeOf, view } from "../support/tree-view.ts";

const run = promisify(execFile);
const scratch = mkdtempSync(join(tmpdir(), "orlop-oras-"));
let registry: DockerRegistry;
before(async () => {
  registry = await startRegistry();
});
after(async () => {
  await registry.stop();
  rmSync(scratch, { recursive: true, force: true });
});

/** Runs oras in a directory. */
async function oras(cwd: string, ...args: readonly string[]): Promise<void> {
  const [loader = "", ...words] = debianProgram("trixie", "oras", "usr/bin/oras");
  await run(loader, [...words, ...args, "--plain-http"], { cwd, env: { HOME: scratch } });
}

function fresh(name: string): string {
  const path = join(scratch, name);
  mkdirSync(path, { recursive: true });
  return path;
}

/** A directory of what people pack: text, a program, a link, an empty file, bytes that end within a block, a name with a blank. */
function content(name: string): string {
  const root = fresh(name);
  mkdirSync(join(root, "model/weights/deep"), { recursive: true });
  writeFileSync(join(root, "config.json"), '{"a": 1}\n');
  writeFileSync(join(root, "model/weights/a.bin"), Buffer.alloc(3 * 1024 * 1024 + 7, "weights"));
  writeFileSync(join(root, "model/weights/deep/empty"), "");
  writeFileSync(join(root, "model/with a blank"), "x".repeat(513));
  writeFileSync(join(root, "model/run.sh"), "#!/bin/sh\n");
  chmodSync(join(root, "model/run.sh"), 0o750);
  symlinkSync("weights/a.bin", join(root, "model/latest"));
  return root;
}

/**
 * What a mounted or unpacked directory holds. A blob that is a file has no mode, owner or time to keep, and oras gives symlinks
 * and directories the time at which it unpacks them.
 */
function seen(directory: string, times = true): string[] {
  const { tree, blobs } = treeOf(directory);
  return view(tree, blobs).map((line) => {
    if (/ file /.test(line) && !line.startsWith("model/")) return line.replace(/ file \d+ \d+:\d+ \S+/, " file");
    return times && / file /.test(line) ? line : line.replace(/ (\w+ \d+ \d+:\d+) \S+/, " $1");
  });
}

const shapes: Readonly<Record<string, readonly string[]>> = {
  "one file": ["config.json"],
  "a directory": ["model"],
  "files and a directory": ["config.json", "model"],
  "files with media types of their own": [
    "config.json:application/json",
    "model:application/vnd.example.model.tar+gzip",
  ],
  "an object of image-spec 1.0": ["--image-spec", "v1.0", "config.json", "model"],
  "an object with an artifact type and a config": [
    "--artifact-type",
    "application/vnd.example.thing",
    "config.json",
    "model",
  ],
};

suite("pushed by oras, mounted by us, equals what oras pulls", () => {
  for (const [name, args] of Object.entries(shapes))
    test(name, async () => {
      const slug = name.replace(/[^a-z0-9]+/g, "-");
      const reference = `${registry.host}/oras/${slug}:v1`;
      await oras(content(`${slug}-in`), "push", reference, ...args);
      const pulled = fresh(`${slug}-out`);
      await oras(pulled, "pull", reference);

      await using node = await startEngine();
      const object = await node.engine.pull({ reference });
      const target = fresh(`${slug}-at`);
      await node.engine.publish({ owner: "test", digest: object.digest, target });
      try {
        assert.deepEqual(seen(target), seen(pulled));
      } finally {
        await node.engine.unpublish("test");
      }
    });
});

test("pushed by us, pulled by oras, is what was pushed", async () => {
  const source = content("ours-in");
  const reference = `${registry.host}/oras/ours:v1`;
  await using node = await startEngine();
  await node.engine.push({ reference, paths: ["config.json", "model"].map((path) => join(source, path)) });
  const pulled = fresh("ours-out");
  await oras(pulled, "pull", reference);
  // Our archives have no times, so that the same files are the same object.
  assert.deepEqual(seen(pulled, false), seen(source, false));
});
