// The engine without Kubernetes, through the command line, against a real registry and the real kernel.
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { ARTIFACT, createWorld, leftovers, orlop, pushObjects, ran, WORKLOAD, type World } from "../support/orlop.ts";

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

const dir = (name: string): string => {
  const path = join(world.dir, "at", name);
  mkdirSync(path, { recursive: true });
  return path;
};
const mountsAt = (path: string): string[] =>
  readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => line.split(" ")[4] === path);

suite("an object on a host without Kubernetes", () => {
  test("pull, ls, inspect", () => {
    const pulled = orlop("pull", ...world.places(), ARTIFACT);
    assert.equal(pulled.code, 0, pulled.err);
    assert.match(pulled.out, /^sha256:[0-9a-f]{64}\n$/);
    const listed = JSON.parse(orlop("ls", ...world.places(), "-o", "json").out) as {
      references: string[];
      digest: string;
    }[];
    assert.deepEqual(
      listed.map((o) => [o.references, `${o.digest}\n`]),
      [[[ARTIFACT], pulled.out]],
    );
    const inspected = orlop("inspect", ...world.places(), ARTIFACT);
    assert.match(inspected.out, /^Packaging: +oras$/m);
    assert.match(inspected.out, /file +0644 +0:0 +2 +\/?dir\/file$/m);
  });

  test("mount is read-only and runs nothing; umount undoes it", () => {
    const target = dir("artifact");
    const mounted = orlop("mount", ...world.places(), ARTIFACT, target);
    assert.equal(mounted.code, 0, mounted.err);
    assert.equal(readFileSync(join(target, "file"), "utf8"), "2\n");
    assert.equal(readFileSync(join(target, "dir/file"), "utf8"), "1\n");
    assert.throws(() => writeFileSync(join(target, "x"), ""), { code: "EROFS" });
    const [line = ""] = mountsAt(target);
    assert.match(line, / ro,nosuid,nodev,noexec,/);
    assert.match(line, / - erofs /);
    assert.equal(orlop("umount", ...world.places(), target).code, 0);
    assert.deepEqual(mountsAt(target), []);
    assert.deepEqual(leftovers(world), []);
  });

  test("an image is mounted merged, and runs with --exec only", () => {
    const target = dir("image");
    assert.equal(orlop("mount", ...world.places(), WORKLOAD, target).code, 0);
    assert.throws(() => ran([join(target, "bin/busybox"), "true"]), { code: "EACCES" });
    assert.equal(orlop("umount", ...world.places(), target).code, 0);
    assert.equal(orlop("mount", "--exec", ...world.places(), WORKLOAD, target).code, 0);
    assert.equal(ran([join(target, "bin/busybox"), "echo", "hi"]).out, "hi\n");
    assert.equal(orlop("umount", ...world.places(), target).code, 0);
  });

  test("--sub-path of a directory and of a file", () => {
    const target = dir("sub");
    assert.equal(orlop("mount", "--sub-path", "dir", ...world.places(), ARTIFACT, target).code, 0);
    assert.deepEqual(readdirSync(target), ["file"]);
    assert.equal(orlop("umount", ...world.places(), target).code, 0);
    const file = world.file("at/one-file", "");
    const mounted = orlop("mount", "--sub-path", "file", ...world.places(), ARTIFACT, file);
    assert.equal(mounted.code, 0, mounted.err);
    assert.equal(readFileSync(file, "utf8"), "2\n");
    assert.equal(orlop("umount", ...world.places(), file).code, 0);
  });

  test("two mounts of one object are one filesystem", () => {
    const targets = [dir("one"), dir("two")];
    for (const target of targets) assert.equal(orlop("mount", ...world.places(), ARTIFACT, target).code, 0);
    const devices = targets.map((target) => mountsAt(target)[0]?.split(" ")[2]);
    assert.equal(devices[0], devices[1]);
    for (const target of targets) assert.equal(orlop("umount", ...world.places(), target).code, 0);
  });

  test("an OCI layout and a docker archive are pulled from files, and mounted", () => {
    // docker-archive by another implementation's words: the config and layer tar of an image, and a manifest.json.
    const layer = world.file("files/layer.tar", "");
    world.file("files/content/hello", "hi\n");
    assert.equal(ran(["tar", "-cf", layer, "-C", join(world.dir, "files/content"), "hello"]).code, 0);
    const diffId = ran(["sha256sum", layer]).out.split(" ")[0] ?? "";
    world.file(
      "files/config.json",
      JSON.stringify({
        architecture: "amd64",
        os: "linux",
        config: {},
        rootfs: { type: "layers", diff_ids: [`sha256:${diffId}`] },
      }),
    );
    world.file(
      "files/manifest.json",
      JSON.stringify([{ Config: "config.json", RepoTags: ["me/hello:v1"], Layers: ["layer.tar"] }]),
    );
    const archive = join(world.dir, "files/hello.tar");
    ran(["tar", "-cf", archive, "-C", join(world.dir, "files"), "manifest.json", "config.json", "layer.tar"]);
    const target = dir("archive");
    const mounted = orlop("mount", ...world.places(), `docker-archive:${archive}:me/hello:v1`, target);
    assert.equal(mounted.code, 0, mounted.err);
    assert.equal(readFileSync(join(target, "hello"), "utf8"), "hi\n");
    assert.equal(orlop("umount", ...world.places(), target).code, 0);
    assert.match(orlop("ls", ...world.places()).out, /^docker\.io\/me\/hello:v1 /m);
    const layout = join(world.dir, "layout");
    assert.equal(ran(["umoci", "init", "--layout", layout]).code, 0);
    assert.equal(ran(["umoci", "new", "--image", `${layout}:v1`]).code, 0);
    assert.equal(ran(["umoci", "insert", "--image", `${layout}:v1`, join(world.dir, "files/content"), "/in"]).code, 0);
    assert.equal(orlop("pull", ...world.places(), "--from", `oci:${layout}:v1`, "quay.io/me/layout:v1").code, 0);
    assert.match(orlop("inspect", ...world.places(), "quay.io/me/layout:v1").out, /in\/hello$/m);
  });

  test("rm refuses what is mounted, and prune frees what nothing names", () => {
    const target = dir("rm");
    assert.equal(orlop("mount", ...world.places(), ARTIFACT, target).code, 0);
    const refused = orlop("rm", ...world.places(), ARTIFACT);
    assert.equal(refused.code, 1);
    assert.match(refused.err, /^orlop: .*(in use|mounted).*\n$/);
    assert.equal(orlop("umount", ...world.places(), target).code, 0);
    assert.equal(orlop("rm", ...world.places(), ARTIFACT).code, 0);
    assert.equal(orlop("prune", ...world.places()).code, 0);
    assert.equal(orlop("pull", ...world.places(), ARTIFACT).code, 0, "it can be pulled again");
    assert.deepEqual(JSON.parse(orlop("fsck", ...world.places(), "-o", "json").out), []);
  });
});

suite("bad input gets one line that says what is wrong", () => {
  const oneLine = /^orlop: [^\n]+\n$/;
  const refuses = (args: readonly string[], code: number, words: RegExp): void => {
    const result = orlop(...args);
    assert.equal(result.code, code, result.err);
    assert.match(result.err, oneLine);
    assert.match(result.err, words);
    assert.equal(result.out, "");
  };

  test("an unknown reference", () =>
    refuses(["pull", ...world.places(), "quay.io/crio/missing:v1"], 1, /quay\.io\/crio\/missing:v1.*not found/));
  test("an unreachable registry", () =>
    refuses(["pull", ...world.places(), "127.0.0.1:9/x/y:v1"], 1, /127\.0\.0\.1:9.*refused/));
  test("no reference at all", () => refuses(["pull", ...world.places(), "UPPER::"], 2, /UPPER::/));
  test("an unknown flag", () => refuses(["pull", "--frob", ARTIFACT], 2, /--frob/));
  test("a target that is not empty", () => {
    const target = dir("full");
    writeFileSync(join(target, "x"), "");
    refuses(["mount", ...world.places(), ARTIFACT, target], 1, /full.*empty/);
    assert.deepEqual(mountsAt(target), []);
  });
  test("a target that is not there", () =>
    refuses(["mount", ...world.places(), ARTIFACT, join(world.dir, "nowhere")], 1, /nowhere/));
  test("a sub-path that is not there", () =>
    refuses(["mount", "--sub-path", "nope", ...world.places(), ARTIFACT, dir("nope")], 1, /nope/));
  test("a path to push that is not there", () =>
    refuses(["push", ...world.places(), "/nonexistent", "quay.io/a:b"], 1, /\/nonexistent/));
  test("umount of what is not mounted", () => refuses(["umount", ...world.places(), dir("bare")], 1, /nothing/));
  test("a data directory that is a file", () => {
    const file = world.file("a-file", "");
    refuses(["ls", "--data-dir", join(file, "x"), "--run-dir", world.runDir], 1, /a-file/);
  });
  test("a kubeconfig that is none", () => {
    refuses(
      ["kubelet", ...world.places(), "--kubeconfig", world.file("bad.kubeconfig", "{}")],
      1,
      /bad\.kubeconfig|kubeconfig/,
    );
  });
  test("a port in use", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const port = address !== null && typeof address === "object" ? String(address.port) : "";
    refuses(["apiserver", ...world.places("busy"), "--port", port], 1, new RegExp(`${port}.*in use`));
    server.close();
  });
  test("no root right", () => {
    const places = world.places("nobody");
    const result = ran([
      "setpriv",
      "--reuid=65534",
      "--regid=65534",
      "--clear-groups",
      join(import.meta.dirname, "../../bin/orlop"),
      "up",
      ...places,
    ]);
    assert.equal(result.code, 1);
    assert.match(result.err, /^orlop: .*root.*\n$/);
    assert.equal(existsSync(join(world.dir, "nobody")), false);
  });
});

test("doctor looks at this machine and says what it found", () => {
  const result = orlop("doctor", ...world.places(), "-o", "json");
  const checks = JSON.parse(result.out) as { name: string; state: string }[];
  assert.deepEqual(
    checks.filter((check) => check.state === "error"),
    [],
  );
  assert.ok(checks.some((check) => check.name === "EROFS from files"));
  assert.equal(result.code, 0);
});
