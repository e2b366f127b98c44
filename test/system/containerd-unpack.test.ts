// An image of three layers, mounted by containerd's snapshotter and by us, must be one tree.
import assert from "node:assert/strict";
import { linkSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import { silent } from "#base";
import { setXattr } from "#kernel";
import { digestOf, hexOf, MEDIA, type Descriptor } from "#oci";
import { startContainerd, type Containerd } from "../../src/daemon/containerd.ts";
import { describe, manifestOf } from "../support/content.ts";
import { startEngine } from "../support/engine.ts";
import { createWorld, PAUSE, ran, type World } from "../support/orlop.ts";
import { tar, treeOf, view } from "../support/tree-view.ts";

let world: World;
let containerd: Containerd;
before(async () => {
  world = await createWorld();
  const runDir = join(world.runDir, "c");
  mkdirSync(runDir, { recursive: true });
  const dataDir = join(world.dir, "c");
  containerd = await startContainerd({ dataDir, runDir, sandboxImage: PAUSE, log: silent });
});
after(async () => {
  await containerd.stop();
  await world[Symbol.asyncDispose]();
});

function layer(name: string, make: (root: string) => void): Buffer {
  const root = join(world.dir, name);
  mkdirSync(root);
  make(root);
  ran(["find", root, "-exec", "touch", "-h", "-d", "2024-05-06 07:08:09.5", "{}", "+"]);
  return tar("-c", "--format=pax", "--xattrs", "--xattrs-include=*", "--sort=name", "-C", root, ".");
}

function layers(): Buffer[] {
  const file = (root: string, path: string, text = path): void => {
    mkdirSync(join(root, path, ".."), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  return [
    layer("lower", (root) => {
      for (const path of [
        "keep",
        "gone",
        "replaced",
        "opaque/a",
        "opaque/deep/b",
        "whole/c",
        "dir-to-file/d",
        "file-to-dir",
      ])
        file(root, path);
      linkSync(join(root, "keep"), join(root, "hard"));
      symlinkSync("keep", join(root, "soft"));
      setXattr(join(root, "keep"), "user.note", Buffer.from("kept"));
      ran(["mknod", join(root, "null"), "c", "1", "3"]);
      ran(["mkfifo", join(root, "pipe")]);
      ran(["chown", "1234:5678", join(root, "keep")]);
      ran(["chmod", "4755", join(root, "replaced")]);
    }),
    layer("middle", (root) => {
      for (const path of [".wh.gone", "opaque/.wh..wh..opq", ".wh.whole"]) file(root, path, "");
      for (const path of ["replaced", "opaque/new", "dir-to-file", "file-to-dir/e"])
        file(root, path, `${path} of the middle`);
    }),
    layer("upper", (root) => {
      file(root, "gone", "back again");
      file(root, ".wh.hard", "");
      ran(["chmod", "0700", root]);
    }),
  ];
}

test("whiteouts, opaque directories, links, owners, attributes and kinds that change come out as containerd's", async () => {
  const image = "docker.io/library/layers:v1";
  const archives = layers();
  const blobs = archives.map((bytes) => gzipSync(bytes));
  const config = Buffer.from(
    JSON.stringify({
      architecture: "amd64",
      os: "linux",
      config: {},
      rootfs: { type: "layers", diff_ids: archives.map((bytes) => digestOf(bytes)) },
    }),
  );
  const manifest = manifestOf(
    describe(config, MEDIA.imageConfig),
    blobs.map((bytes): Descriptor => describe(bytes, `${MEDIA.layer}+gzip`)),
  );
  const layout = join(world.dir, "layout");
  mkdirSync(join(layout, "blobs/sha256"), { recursive: true });
  for (const bytes of [...blobs, config, manifest.bytes])
    writeFileSync(join(layout, "blobs/sha256", hexOf(digestOf(bytes))), bytes);
  writeFileSync(join(layout, "oci-layout"), '{"imageLayoutVersion": "1.0.0"}');
  const annotations = { "org.opencontainers.image.ref.name": "v1", "io.containerd.image.name": image };
  writeFileSync(
    join(layout, "index.json"),
    JSON.stringify({ schemaVersion: 2, manifests: [{ ...manifest.descriptor, annotations }] }),
  );
  const archive = join(world.dir, "layout.tar");
  writeFileSync(archive, tar("-c", "-C", layout, "."));

  const theirs = join(world.dir, "theirs");
  const ours = join(world.dir, "ours");
  for (const dir of [theirs, ours]) mkdirSync(dir);
  const ctr = (...args: string[]): void => {
    const { code, out, err } = ran(["ctr", "--address", containerd.socket, ...args]);
    assert.equal(code, 0, out + err);
  };
  ctr("images", "import", archive);
  ctr("images", "mount", image, theirs);
  try {
    await using node = await startEngine();
    const { digest } = await node.engine.pull({ reference: "localhost/layers:v1", from: `oci:${layout}:v1` });
    await node.engine.publish({ owner: "test", digest, target: ours });
    const seen = (dir: string): string[] => {
      const { tree, blobs: bytes } = treeOf(dir);
      return view(tree, bytes);
    };
    assert.deepEqual(seen(ours), seen(theirs));
    await node.engine.unpublish("test");
  } finally {
    ctr("images", "unmount", theirs);
  }
  ctr("images", "rm", image);
  rmSync(layout, { recursive: true });
});
