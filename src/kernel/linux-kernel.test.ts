// What only the real kernel can show. Needs root.
import assert from "node:assert/strict";
import {
  closeSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { isFailure } from "#base";
import { encodeErofs, sampleImage } from "#erofs";
import {
  getXattrs,
  hasCapability,
  kernelVersion,
  linuxKernel,
  makeNode,
  mountNamespaceIsPrivate,
  probeErofs,
  setTimes,
  setXattr,
  supportsFilesystem,
} from "#kernel";
import { digestOf, type Digest } from "#oci";
import type { File } from "#tree";

function place(t: TestContext, ...below: string[]): string {
  const directory = mkdtempSync(join(tmpdir(), "orlop-kernel-"));
  t.after(() => {
    const kernel = linuxKernel();
    for (const { target } of kernel.mounts()) if (target.startsWith(`${directory}/`)) kernel.unmount(target);
    rmSync(directory, { recursive: true });
  });
  const path = join(directory, ...below);
  mkdirSync(path, { recursive: true });
  return path;
}

/** One file per blob of one block. */
function manyBlobs(count: number): { image: Uint8Array; devices: readonly Digest[]; bytes: Map<Digest, Buffer> } {
  const plain = { uid: 0, gid: 0, mtime: { seconds: 0, nanoseconds: 0 }, xattrs: new Map<string, Uint8Array>() };
  const bytes = new Map<Digest, Buffer>();
  const entries = new Map<string, File>();
  for (let i = 0; i < count; i++) {
    const blob = Buffer.alloc(512, `blob ${i} `);
    const digest = digestOf(blob);
    bytes.set(digest, blob);
    const extents = [{ at: 0, blob: digest, offset: 0, length: 512 }];
    entries.set(`file${i}`, { ...plain, kind: "file", mode: 0o444, size: 512, extents });
  }
  const root = { ...plain, kind: "directory", mode: 0o755, entries } as const;
  const blobSizes = new Map([...bytes].map(([digest, blob]) => [digest, blob.length]));
  return { ...encodeErofs({ root }, { blobSizes, blobTails: new Map() }), bytes };
}

test("an image of 2,000 devices is mounted, and each file comes from its own", (t) => {
  const at = place(t);
  const { image, devices, bytes } = manyBlobs(2000);
  const target = join(at, "target");
  mkdirSync(target);
  writeFileSync(join(at, "image"), image);
  for (const [i, digest] of devices.entries()) writeFileSync(join(at, `${i}`), bytes.get(digest) ?? "");
  const kernel = linuxKernel();
  const open = readdirSync("/proc/self/fd").length;
  kernel.mountErofs(
    { image: join(at, "image"), devices: devices.map((_, i) => join(at, `${i}`)), directIo: false, flags: {} },
    target,
  );
  assert.equal(readdirSync(target).length, 2000);
  for (const i of [0, 1, 999, 1999])
    assert.equal(readFileSync(join(target, `file${i}`), "latin1"), Buffer.alloc(512, `blob ${i} `).toString("latin1"));
  assert.equal(readdirSync("/proc/self/fd").length, open, "no descriptor stays open");
});

test("who has a file open reads on when it is unmounted", (t) => {
  const at = place(t);
  const { image, device, name, content } = sampleImage();
  writeFileSync(join(at, "image"), image);
  writeFileSync(join(at, "device"), device);
  const target = join(at, "target");
  mkdirSync(target);
  const kernel = linuxKernel();
  kernel.mountErofs({ image: join(at, "image"), devices: [join(at, "device")], directIo: false, flags: {} }, target);
  const fd = openSync(join(target, name), "r");
  kernel.unmount(target);
  assert.deepEqual(readdirSync(target), []);
  assert.deepEqual(new Uint8Array(readFileSync(fd)), content);
  closeSync(fd);
});

test("paths longer than an fsconfig string are mounted", (t) => {
  const at = place(t, "a".repeat(200), "b".repeat(200));
  const { image, device, name, content } = sampleImage();
  writeFileSync(join(at, "image"), image);
  writeFileSync(join(at, "device"), device);
  mkdirSync(join(at, "target"));
  const kernel = linuxKernel();
  const target = join(at, "target");
  kernel.mountErofs({ image: join(at, "image"), devices: [join(at, "device")], directIo: false, flags: {} }, target);
  assert.deepEqual(new Uint8Array(readFileSync(join(target, name))), content);
});

test("the kernel's own words say what is wrong", (t) => {
  const at = place(t);
  const { image, device } = sampleImage();
  writeFileSync(join(at, "image"), image);
  writeFileSync(join(at, "device"), device);
  writeFileSync(join(at, "text"), "this is no image".repeat(1000));
  const kernel = linuxKernel();
  const message = (name: string, devices: readonly string[]): string => {
    try {
      kernel.mountErofs({ image: join(at, name), devices, directIo: false, flags: {} }, at);
    } catch (error) {
      assert.ok(isFailure(error, "MOUNT_FAILED"));
      return error.message;
    }
    return assert.fail("it was mounted");
  };
  assert.match(message("text", []), /text cannot be mounted at .*EROFS.*\(EINVAL\)$/);
  assert.match(message("image", [join(at, "device"), join(at, "device")]), /\(EINVAL\)$/);
  assert.match(message("image", [at]), /\(EINVAL\)$/);
});

test("the probe finds out what this machine does, and leaves nothing", async (t) => {
  const at = place(t);
  const kernel = linuxKernel();
  const before = kernel.mounts().length;
  const [major, minor] = kernelVersion();
  const support = await probeErofs(kernel, at, sampleImage());
  assert.equal(support.supported, major > 6 || (major === 6 && minor >= 12));
  assert.deepEqual(readdirSync(at), []);
  assert.equal(kernel.mounts().length, before);
});

test("the probe says why not, and never throws", async (t) => {
  const at = place(t);
  const kernel = linuxKernel();
  const missing = await probeErofs(kernel, join(at, "missing"), sampleImage());
  assert.ok(!missing.supported);
  assert.match(missing.why, /ENOENT/);
  const lies = await probeErofs(kernel, at, { ...sampleImage(), content: new Uint8Array(9001) });
  assert.ok(!lies.supported);
  assert.match(lies.why, /other bytes/);
  const tmpfs = join(at, "tmpfs");
  mkdirSync(tmpfs);
  kernel.mountTmpfs(tmpfs, {}, {});
  const memory = await probeErofs(kernel, tmpfs, sampleImage());
  assert.ok(!memory.supported);
  assert.match(memory.why, /tmpfs/);
  assert.deepEqual(readdirSync(tmpfs), []);
});

test("a machine says what it is", () => {
  assert.deepEqual(kernelVersion("6.18.44-fc-v669"), [6, 18]);
  assert.equal(hasCapability("CAP_SYS_ADMIN"), true);
  assert.equal(supportsFilesystem("tmpfs"), true);
  assert.equal(supportsFilesystem("no such filesystem"), false);
  assert.equal(typeof mountNamespaceIsPrivate(), "boolean");
});

test("nodes, times and attributes are made as asked", (t) => {
  const at = place(t);
  makeNode(join(at, "null"), "char", 0o600, { major: 1, minor: 3 });
  makeNode(join(at, "pipe"), "fifo", 0o600);
  assert.equal(readFileSync(join(at, "null")).length, 0);
  assert.throws(
    () => makeNode(join(at, "pipe"), "fifo", 0o600),
    (error) => isFailure(error, "MKNOD_FAILED") && error.message.includes("EEXIST"),
  );
  writeFileSync(join(at, "file"), "");
  assert.equal(setXattr(join(at, "file"), "user.name", Buffer.from("value")), true);
  assert.deepEqual([...getXattrs(join(at, "file"))], [["user.name", new TextEncoder().encode("value")]]);
  assert.equal(setXattr(join(at, "pipe"), "user.name", Buffer.from("value")), false);
  assert.equal(setXattr(join(at, "file"), "com.apple.name", Buffer.from("value")), false);
  setTimes(join(at, "pipe"), { seconds: -5, nanoseconds: 7 });
  assert.equal(lstatSync(join(at, "pipe"), { bigint: true }).mtimeNs, -4_999_999_993n);
});
