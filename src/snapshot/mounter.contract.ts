import assert from "node:assert/strict";
import {
  closeSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { bytesOf, isFailure, nameOf } from "#base";
import { getXattrs, linuxKernel } from "#kernel";
import { digestOf, hexOf, type Digest } from "#oci";
import { Store } from "#store";
import { TAR_END, tarHeader, tarPadding, type TarHeader } from "#tar";
import { Mounter } from "./mounter.ts";
import type { PlacedPart } from "./placed-part.ts";
import { Snapshots, type SnapshotForm } from "./snapshots.ts";

const PLAIN: TarHeader = {
  path: "",
  type: "file",
  mode: 0o644,
  uid: 0,
  gid: 0,
  size: 0,
  mtime: { seconds: 1_700_000_000, nanoseconds: 0 },
  linkname: "",
  devmajor: 0,
  devminor: 0,
  xattrs: new Map(),
};
const LONG = "n".repeat(255);

/** Members of a layer: a header, and content for files. */
const LAYER: readonly (Partial<TarHeader> & { readonly content?: Buffer })[] = [
  { path: "dir/", type: "directory", mode: 0o1750, uid: 7, gid: 8, mtime: { seconds: -5, nanoseconds: 250_000_000 } },
  { path: "dir/setuid", mode: 0o4755, uid: 70_000, gid: 4_000_000_000, content: Buffer.from("run me") },
  { path: "dir/empty", content: Buffer.alloc(0) },
  { path: "dir/large", content: Buffer.alloc(300_001, "0123456789") },
  { path: "hard", type: "hardlink", linkname: "dir/large" },
  { path: "soft", type: "symlink", mode: 0o777, linkname: "dir/large" },
  { path: "dangling", type: "symlink", mode: 0o777, linkname: "/no/where" },
  { path: "console", type: "char", mode: 0o600, devmajor: 5, devminor: 1 },
  { path: "disk", type: "block", mode: 0o640, gid: 6, devmajor: 259, devminor: 300 },
  { path: "pipe", type: "fifo", mode: 0o622 },
  {
    path: "attributes",
    content: Buffer.from("x"),
    xattrs: new Map([
      ["user.word", Buffer.from("value")],
      ["security.capability", Buffer.from("0100000200040000000000000000000000000000", "hex")],
    ]),
  },
  { path: nameOf(Buffer.from([0x6e, 0xff, 0xfe])), content: Buffer.from("no UTF-8") },
  { path: `${LONG}/${LONG}`, content: Buffer.from("long") },
  { path: "nanoseconds", mtime: { seconds: 1, nanoseconds: 999_999_999 }, content: Buffer.from("1") },
];

/** What every way of showing a tree must show. Needs root. */
export function mounterContract(form: SnapshotForm): void {
  test(`${form}: everything that a tar can say is in the mount`, async () => {
    await within(form, async ({ show, put, dir }) => {
      const layer = put(tarOf(LAYER));
      const whole = put(Buffer.alloc(10_000, "whole blob"));
      const at = await show([
        { kind: "layer", ...layer },
        { kind: "file", ...whole, path: "model/weights", attributes: { mode: 0o444 } },
        { kind: "file", ...whole, path: "model/same" },
      ]);
      for (const { content, ...member } of LAYER) {
        const entry = { ...PLAIN, ...member };
        const path = bytesOf(join(at, entry.path));
        if (entry.type === "hardlink") {
          assert.equal(lstatSync(path).ino, lstatSync(join(at, entry.linkname)).ino);
          continue;
        }
        const found = lstatSync(path, { bigint: true });
        assert.equal(Number(found.mode) & 0o7777, entry.mode, entry.path);
        assert.deepEqual([Number(found.uid), Number(found.gid)], [entry.uid, entry.gid], entry.path);
        const time = BigInt(entry.mtime.seconds) * 1_000_000_000n + BigInt(entry.mtime.nanoseconds);
        assert.equal(found.mtimeNs, time, entry.path);
        if (entry.type === "symlink") assert.equal(readlinkSync(path), entry.linkname);
        if (content !== undefined) assert.ok(readFileSync(path).equals(content), entry.path);
        const kinds = {
          file: found.isFile(),
          directory: found.isDirectory(),
          symlink: found.isSymbolicLink(),
          char: found.isCharacterDevice(),
          block: found.isBlockDevice(),
          fifo: found.isFIFO(),
        };
        assert.ok(kinds[entry.type], `${entry.path} is no ${entry.type}`);
        if (entry.type === "char" || entry.type === "block")
          assert.equal(found.rdev, deviceNumber(entry.devmajor, entry.devminor), entry.path);
        const xattrs = new Map([...getXattrs(join(at, entry.path))].map(([name, value]) => [name, Buffer.from(value)]));
        assert.deepEqual(xattrs, entry.xattrs, entry.path);
      }
      assert.equal(lstatSync(join(at, "dir/large")).nlink, 2);
      for (const name of ["weights", "same"])
        assert.equal(readFileSync(join(at, "model", name), "latin1"), "whole blob".repeat(1000));
      assert.equal(lstatSync(join(at, "model/weights")).mode & 0o7777, 0o444);
      assert.equal(lstatSync(join(at, "model/same")).mode & 0o7777, 0o644);
      assert.equal(readdirSync(join(dir, "data/v1/ingests")).length, 0);
    });
  });

  test(`${form}: whiteouts hide what lies below, and an empty object is an empty directory`, async () => {
    await within(form, async ({ show, put }) => {
      const lower = put(tarOf([{ path: "gone", content: Buffer.from("1") }, { path: "kept/a" }, { path: "kept/b" }]));
      const upper = put(tarOf([{ path: ".wh.gone" }, { path: "kept/.wh.a" }, { path: "new" }]));
      const at = await show([
        { kind: "layer", ...lower },
        { kind: "layer", ...upper },
      ]);
      assert.deepEqual(readdirSync(at).sort(), ["kept", "new"]);
      assert.deepEqual(readdirSync(join(at, "kept")), ["b"]);
      assert.deepEqual(readdirSync(await show([])), []);
    });
  });

  test(`${form}: nobody can write, whatever the modes say`, async () => {
    await within(form, async ({ show, put }) => {
      const at = await show([
        { kind: "layer", ...put(tarOf([{ path: "file", mode: 0o666, content: Buffer.from("1") }])) },
      ]);
      assert.throws(() => writeFileSync(join(at, "new"), ""), { code: "EROFS" });
      assert.throws(() => closeSync(openSync(join(at, "file"), "r+")), { code: "EROFS" });
      assert.throws(() => unlinkSync(join(at, "file")), { code: "EROFS" });
    });
  });

  test(`${form}: a path out of the object is refused, and nothing is left`, async () => {
    await within(form, async ({ show, put, dir }) => {
      const evil = put(tarOf([{ path: "../evil", content: Buffer.from("1") }]));
      await assert.rejects(show([{ kind: "archive", ...evil }]), (error) => isFailure(error, "UNSAFE_PATH"));
      assert.deepEqual(readdirSync(join(dir, "data/v1/snapshots")), []);
      assert.deepEqual(readdirSync(join(dir, "data/v1/ingests")), []);
    });
  });
}

interface Place {
  readonly dir: string;
  /** Puts bytes among the blobs. */
  readonly put: (bytes: Buffer) => { readonly stored: Digest; readonly size: number };
  /** Mounts an object of these parts at a new directory. */
  readonly show: (parts: readonly PlacedPart[]) => Promise<string>;
}

async function within(form: SnapshotForm, work: (place: Place) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "orlop-mounter-"));
  const kernel = linuxKernel();
  const manifests = new Map<string, Digest>();
  try {
    await using store = await Store.open({ dataDir: join(dir, "data") });
    await using snapshots = new Snapshots(store, form);
    const mounter = new Mounter({ kernel, store, snapshots, runDir: join(dir, "run"), directIo: false });
    const put = (bytes: Buffer) => {
      const stored = digestOf(bytes);
      writeFileSync(join(store.layout.blobs, hexOf(stored)), bytes);
      return { stored, size: bytes.length };
    };
    const show = async (parts: readonly PlacedPart[]) => {
      const manifest = digestOf(JSON.stringify(parts));
      const target = join(dir, `target-${manifests.size}`);
      mkdirSync(target);
      await using _lock = await mounter.lock(manifest);
      await mounter.mount({ manifest, parts, subPath: "", target, exec: false });
      manifests.set(target, manifest);
      assert.ok(mounter.isMounted(manifest, target));
      return target;
    };
    await work({ dir, put, show });
    for (const [target, manifest] of manifests) {
      mounter.unmount(target);
      mounter.release(manifest);
    }
    assert.deepEqual(mounter.mounted(), []);
  } finally {
    for (const { target } of kernel.mounts().toReversed()) if (target.startsWith(`${dir}/`)) kernel.unmount(target);
    rmSync(dir, { recursive: true, force: true });
  }
}

function tarOf(members: typeof LAYER): Buffer {
  const blocks = members.flatMap(({ content = Buffer.of(), ...member }) => [
    tarHeader({ ...PLAIN, ...member, size: content.length }),
    content,
    tarPadding(content.length),
  ]);
  return Buffer.concat([...blocks, TAR_END]);
}

/** glibc's makedev(3). */
function deviceNumber(major: number, minor: number): bigint {
  const [high, low] = [BigInt(major), BigInt(minor)];
  return ((high & 0xfffn) << 8n) | (low & 0xffn) | ((low & 0xfff00n) << 12n);
}
