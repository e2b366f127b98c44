import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { bytesOf, isFailure, nameOf } from "#base";
import { sampleImage } from "#erofs";
import type { Kernel, MountEntry, MountFlags } from "#kernel";

const NONE: MountFlags = {};
const LOCKED: MountFlags = { readOnly: true, noExec: true, noSuid: true, noDev: true };

interface GroundOptions {
  /** Told of each test's directory before anything is made in it; gives what undoes its work. */
  readonly prepare?: (place: string) => () => void;
}

/** What every Kernel does. The real one needs root, and does it to this machine. */
export function kernelContract(name: string, make: () => Kernel, options?: GroundOptions): void {
  const contract = (what: string, body: (ground: Ground) => void): void => {
    test(`${name}: ${what}`, (t) => body(new Ground(t, make(), options)));
  };

  contract("an EROFS image is mounted with its flags", (ground) => {
    const { kernel } = ground;
    const target = ground.directory("target");
    kernel.mountErofs({ ...ground.image(), directIo: false, flags: LOCKED }, target);
    const [entry, ...others] = ground.mounts();
    assert.equal(others.length, 0);
    assert.equal(entry?.target, target);
    assert.equal(entry.type, "erofs");
    assert.equal(entry.root, "/");
    assert.deepEqual(words(entry), ["nodev", "noexec", "nosuid", "ro"]);
    assert.match(entry.device, /^\d+:\d+$/);
  });

  contract("an image is read-only whatever the flags say", (ground) => {
    ground.kernel.mountErofs({ ...ground.image(), directIo: true, flags: NONE }, ground.directory("target"));
    const [entry] = ground.mounts();
    assert.deepEqual(entry && words(entry), ["ro"]);
    assert.ok(entry?.options.includes("directio"));
  });

  contract("two mounts of one image are two superblocks, and all binds of one are one", (ground) => {
    const { kernel } = ground;
    const one = ground.directory("one");
    const image = ground.image();
    kernel.mountErofs({ ...image, directIo: false, flags: NONE }, one);
    kernel.mountErofs({ ...image, directIo: false, flags: NONE }, ground.directory("two"));
    for (let i = 0; i < 100; i++) kernel.bind(one, ground.directory(`bind${i}`), LOCKED);
    const [first, second, ...binds] = ground.mounts();
    assert.notEqual(first?.device, second?.device);
    assert.equal(binds.length, 100);
    for (const bind of binds) {
      assert.equal(bind.device, first?.device);
      assert.deepEqual(words(bind), ["nodev", "noexec", "nosuid", "ro"]);
    }
  });

  contract("a bind sets the flags that are true, clears those that are false, and keeps the rest", (ground) => {
    const { kernel } = ground;
    const source = ground.directory("source");
    kernel.mountTmpfs(source, { sizeBytes: 1 << 20, mode: 0o700 }, { noExec: true, noSuid: true });
    kernel.bind(source, ground.directory("kept"), NONE);
    kernel.bind(source, ground.directory("changed"), { readOnly: true, noExec: false });
    kernel.bind(source, ground.directory("cleared"), { noExec: false, noSuid: false, readOnly: false, noDev: false });
    const [tmpfs, kept, changed, cleared] = ground.mounts().map(words);
    assert.deepEqual(tmpfs, ["noexec", "nosuid"]);
    assert.deepEqual(kept, ["noexec", "nosuid"]);
    assert.deepEqual(changed, ["nosuid", "ro"]);
    assert.deepEqual(cleared, []);
  });

  contract("a directory inside, or one file, is bound alone", (ground) => {
    const { kernel } = ground;
    const inner = ground.directory("source/inner");
    const file = ground.file("source/file");
    const target = ground.file("target file");
    kernel.bind(inner, ground.directory("target directory"), LOCKED);
    kernel.bind(file, target, LOCKED);
    const [first, second] = ground.mounts();
    assert.ok(first?.root.endsWith("/source/inner"), first?.root);
    assert.ok(second?.root.endsWith("/source/file"), second?.root);
    assert.equal(second?.target, target);
  });

  contract("what is mounted below the source is not bound along", (ground) => {
    const { kernel } = ground;
    kernel.mountTmpfs(ground.directory("source/inner"), {}, NONE);
    kernel.bind(ground.path("source"), ground.directory("target"), NONE);
    assert.deepEqual(
      ground.mounts().map((entry) => entry.target),
      [ground.path("source/inner"), ground.path("target")],
    );
  });

  contract(
    "unmounting takes off the topmost mount, with what is mounted below it; nothing there is no error",
    (ground) => {
      const { kernel } = ground;
      const target = ground.directory("target");
      kernel.unmount(target);
      kernel.unmount(ground.path("missing"));
      kernel.bind(ground.directory("a/b"), target, NONE);
      kernel.bind(ground.path("a"), target, NONE);
      kernel.bind(ground.directory("c"), ground.directory("a/b"), NONE);
      assert.deepEqual(
        ground.mounts().map((entry) => entry.root.replace(/.*\//, "")),
        ["b", "a", "c"],
      );
      kernel.unmount(target);
      assert.deepEqual(
        ground.mounts().map((entry) => entry.root.replace(/.*\//, "")),
        ["b", "c"],
      );
      kernel.unmount(target);
      kernel.unmount(ground.path("a/b"));
      assert.deepEqual(ground.mounts(), []);
    },
  );

  contract("names with blanks, newlines, backslashes and bytes that are no text come back as they are", (ground) => {
    const odd = nameOf(Buffer.concat([Buffer.from("a b\tc\nd\\e\\040#☃"), Buffer.of(0xff)]));
    const target = ground.directory(odd);
    ground.kernel.bind(ground.directory("source"), target, NONE);
    assert.deepEqual(
      ground.mounts().map((entry) => entry.target),
      [target],
    );
    ground.kernel.unmount(target);
    assert.deepEqual(ground.mounts(), []);
  });

  contract("what cannot be mounted is said, with the target, and nothing stays", (ground) => {
    const { kernel } = ground;
    const target = ground.directory("target");
    const file = ground.file("file");
    const missing = ground.path("missing");
    const good = { ...ground.image(), directIo: false, flags: LOCKED };
    const fails = (mount: () => void, at: string) =>
      assert.throws(mount, (error) => isFailure(error, "MOUNT_FAILED") && error.message.includes(at));
    fails(() => kernel.mountErofs(good, missing), missing);
    fails(() => kernel.mountErofs(good, file), file);
    fails(() => kernel.mountErofs({ ...good, image: missing }, target), missing);
    fails(() => kernel.mountErofs({ ...good, devices: [missing] }, target), target);
    fails(() => kernel.bind(missing, target, NONE), missing);
    fails(() => kernel.bind(target, missing, NONE), missing);
    fails(() => kernel.bind(target, file, NONE), file);
    fails(() => kernel.bind(file, target, NONE), target);
    fails(() => kernel.mountTmpfs(missing, {}, NONE), missing);
    assert.deepEqual(ground.mounts(), []);
  });
}

/** A directory of the test's own; what is mounted or made in it is gone when the test ends. */
class Ground {
  readonly kernel: Kernel;
  readonly #place: string;

  constructor(t: TestContext, kernel: Kernel, options?: GroundOptions) {
    this.kernel = kernel;
    this.#place = realpathSync(mkdtempSync(join(tmpdir(), "orlop-kernel-")));
    const undo = options?.prepare?.(this.#place);
    t.after(() => {
      for (const { target } of this.mounts().toReversed()) kernel.unmount(target);
      undo?.();
      rmSync(this.#place, { recursive: true });
    });
  }

  path(name: string): string {
    return join(this.#place, name);
  }

  directory(name: string): string {
    const path = this.path(name);
    if (!existsSync(bytesOf(path))) mkdirSync(bytesOf(path), { recursive: true });
    return path;
  }

  file(name: string): string {
    writeFileSync(this.path(name), "content");
    return this.path(name);
  }

  image(): { readonly image: string; readonly devices: readonly string[] } {
    const { image, device } = sampleImage();
    writeFileSync(this.path("image"), image);
    writeFileSync(this.path("device"), device);
    return { image: this.path("image"), devices: [this.path("device")] };
  }

  mounts(): readonly MountEntry[] {
    return this.kernel.mounts().filter((entry) => entry.target.startsWith(`${this.#place}/`));
  }
}

function words(entry: MountEntry): readonly string[] {
  return entry.options.filter((option) => ["ro", "noexec", "nosuid", "nodev"].includes(option)).toSorted();
}
