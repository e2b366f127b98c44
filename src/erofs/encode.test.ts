import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isFailure } from "#base";
import { decodeErofs, encodeErofs, readDevices } from "#erofs";
import { digestOf, type Digest } from "#oci";
import type { Directory, Extent, File, Node } from "#tree";
import { Blobs, PLAIN, directory, everything, file, pattern, viewOf } from "../../test/support/trees.ts";
import { BLOBS, trees } from "../../test/support/random-trees.ts";

/** The tree in `image`, with the content that a reader finds. */
function readBack(image: Uint8Array, blobs: Blobs): string {
  const { tree, tails } = decodeErofs(image);
  const contentOf = (node: File): Buffer => {
    const content = blobs.contentOf(node);
    for (const { at, blob, length } of node.extents) content.set(tails.get(blob)?.subarray(0, length) ?? [], at);
    return content;
  };
  return viewOf(tree.root, contentOf);
}

function refused(root: Directory, blobs: Blobs, reason: string, message: RegExp): void {
  assert.throws(
    () => encodeErofs({ root }, blobs),
    (error) => {
      assert.ok(isFailure(error, reason), String(error));
      assert.match(error.message, message);
      return true;
    },
  );
}

test("every kind, attribute and shape is read back from the image", () => {
  const { root, blobs } = everything();
  const { image } = encodeErofs({ root }, blobs);
  assert.equal(
    readBack(image, blobs),
    viewOf(root, (node) => blobs.contentOf(node)),
  );
});

test("any tree is read back as it was, and its image depends on nothing else", () => {
  fc.assert(
    fc.property(trees(), (root) => {
      const blobs = BLOBS;
      const { image, devices } = encodeErofs({ root }, blobs);
      assert.equal(
        readBack(image, blobs),
        viewOf(root, (node) => blobs.contentOf(node)),
      );
      assert.deepEqual(encodeErofs({ root: turned(root) }, blobs).image, image);
      assert.deepEqual(
        readDevices(image).map(({ digest }) => digest),
        devices,
      );
    }),
    { numRuns: 300 },
  );
});

test("damage is a clear failure, never a crash or an endless read", () => {
  const { root, blobs } = everything();
  const { image } = encodeErofs({ root }, blobs);
  fc.assert(
    fc.property(
      fc.nat(image.length - 1),
      fc.integer({ min: 1, max: 255 }),
      fc.nat(image.length),
      (at, flip, length) => {
        const damaged = Uint8Array.from(image.subarray(0, length));
        if (at < length) damaged[at] = (image[at] ?? 0) ^ flip;
        try {
          decodeErofs(damaged);
        } catch (error) {
          assert.ok(isFailure(error, "INVALID_IMAGE"), String(error));
        }
      },
    ),
    { numRuns: 2000 },
  );
});

test("the device table names the blobs, sha512 too, without the rest of the image", () => {
  const blobs = new Blobs();
  const first = blobs.add(pattern(1024));
  const bytes = pattern(4096, 9);
  const second = digestOf(bytes, "sha512");
  blobs.blobSizes.set(second, bytes.length);
  const at = (blob: Digest, length: number): Extent[] => [{ at: 0, blob, offset: 0, length }];
  const root = directory({ a: file(1024, at(first, 1024)), b: file(4096, at(second, 4096)) });
  const { image, devices } = encodeErofs({ root }, blobs);
  assert.deepEqual(devices, [first, second]);
  assert.deepEqual(readDevices(image.subarray(0, 1600)), [
    { digest: first, blocks: 2 },
    { digest: second, blocks: 8 },
  ]);
  assert.throws(
    () => readDevices(image.subarray(0, 1500)),
    (error) => isFailure(error, "INVALID_IMAGE"),
  );
  assert.throws(
    () => readDevices(Buffer.from("no image")),
    (error) => isFailure(error, "INVALID_IMAGE"),
  );
});

test("a blob that no file needs a whole block of is no device", () => {
  const blobs = new Blobs();
  const blob = blobs.add(Buffer.from("hello\n"));
  const root = directory({
    file: file(6, [{ at: 0, blob, offset: 0, length: 6 }]),
    none: file(0, []),
    hole: file(10, []),
  });
  assert.deepEqual(encodeErofs({ root }, blobs).devices, []);
});

test("equal attributes are stored once", () => {
  const blobs = new Blobs();
  const xattrs = new Map([["user.label", pattern(5000)]]);
  const many = Array.from({ length: 100 }, (_, i) => [`${i}`, file(0, [], { xattrs })] as const);
  const { image } = encodeErofs({ root: directory(new Map(many)) }, blobs);
  assert.ok(image.length < 20_000, `${image.length}`);
});

test("inodes that lose nothing are short: the time that most have is written once", () => {
  const entries = (mtime: (i: number) => number) =>
    directory(
      new Map(
        Array.from({ length: 1000 }, (_, i) => [`${i}`, file(0, [], { mtime: { seconds: mtime(i), nanoseconds: 0 } })]),
      ),
    );
  const same = encodeErofs({ root: entries(() => 5) }, new Blobs()).image.length;
  const different = encodeErofs({ root: entries((i) => i) }, new Blobs()).image.length;
  assert.ok(different - same > 31_000, `${same} and ${different} bytes`);
});

test("data that does not lie on blocks is refused, with the path", () => {
  const blobs = new Blobs();
  const blob = blobs.add(pattern(10_240));
  const odd = blobs.add(pattern(1000));
  const put = (size: number, extents: Extent[]) => directory({ usr: directory({ x: file(size, extents) }) });
  refused(put(100, [{ at: 0, blob, offset: 100, length: 100 }]), blobs, "UNALIGNED_EXTENT", /^\/usr\/x: .*offset 100/);
  const hole = put(9000, [{ at: 0, blob, offset: 0, length: 700 }]);
  refused(hole, blobs, "UNALIGNED_EXTENT", /^\/usr\/x: .*byte 700/);
  const cut = put(9000, [
    { at: 0, blob, offset: 0, length: 512 },
    { at: 8704, blob: odd, offset: 512, length: 296 },
  ]);
  refused(cut, blobs, "UNALIGNED_EXTENT", /^\/usr\/x: .*blob ends/);
  refused(put(2 ** 45, [{ at: 512, blob, offset: 0, length: 512 }]), blobs, "UNALIGNED_EXTENT", /^\/usr\/x: .*chunks/);
});

test("what is no tree is refused, with the path", () => {
  const blobs = new Blobs();
  const blob = blobs.add(pattern(1024));
  const twice = directory({});
  const refuse = (node: Node, message: RegExp) =>
    refused(directory({ d: directory({ x: node }) }), blobs, "INVALID_TREE", message);
  refuse(file(512, [{ at: 0, blob, offset: 1024, length: 512 }]), /^\/d\/x: .*1536.*1024 bytes/);
  refuse(file(512, [{ at: 0, blob, offset: 0, length: 513 }]), /^\/d\/x: .*extents/);
  refuse(
    file(1024, [
      { at: 0, blob, offset: 0, length: 1024 },
      { at: 512, blob, offset: 0, length: 512 },
    ]),
    /^\/d\/x: .*overlap/,
  );
  refuse({ ...PLAIN, kind: "symlink", target: "" }, /^\/d\/x: .*target/);
  refuse({ ...PLAIN, kind: "symlink", target: "y".repeat(4096) }, /^\/d\/x: .*4096/);
  refuse({ ...PLAIN, kind: "char", major: 4096, minor: 0 }, /^\/d\/x: .*4096:0/);
  for (const name of ["", ".", "..", "a/b", "a\0b", "n".repeat(256)])
    refused(directory({ d: directory({ [name]: twice }) }), blobs, "INVALID_TREE", /directory \/d:/);
  refused(directory({ a: twice, b: twice }), blobs, "INVALID_TREE", /twice/);
  refuse(file(0, [], { uid: 2 ** 32 }), /^\/d\/x: .*owner/);
  refuse(file(0, [], { gid: -1 }), /^\/d\/x: .*owner/);
  refuse(file(0, [], { mode: 0o10000 }), /^\/d\/x: .*mode/);
  refuse(file(0, [], { mtime: { seconds: 1.5, nanoseconds: 0 } }), /^\/d\/x: .*time/);
  refuse(file(-1, []), /^\/d\/x: .*size/);
  const unknown = file(512, [{ at: 0, blob: digestOf("?"), offset: 0, length: 512 }]);
  refused(directory({ unknown }), blobs, "INVALID_TREE", /^\/unknown: .*unknown number/);
  const tail = blobs.add(pattern(700));
  blobs.blobTails.delete(tail);
  refused(
    directory({ t: file(700, [{ at: 0, blob: tail, offset: 0, length: 700 }]) }),
    blobs,
    "INVALID_TREE",
    /last 188/,
  );
});

test("what EROFS cannot hold is refused, with what is too large", () => {
  const blobs = new Blobs();
  const big = (value: Uint8Array, name = "user.x") =>
    directory({ f: file(0, [], { xattrs: new Map([[name, value]]) }) });
  refused(big(Buffer.alloc(65_536)), blobs, "XATTR_TOO_LARGE", /^\/f: .*user\.x is 65536 bytes/);
  refused(big(Buffer.alloc(1), `user.${"n".repeat(251)}`), blobs, "XATTR_TOO_LARGE", /^\/f: .*name/);
  const five = new Map(Array.from({ length: 5 }, (_, i) => [`user.${i}`, Buffer.alloc(60_000)]));
  refused(directory({ f: file(0, [], { xattrs: five }) }), blobs, "XATTR_TOO_LARGE", /^\/f: .*all together/);
  const huge = digestOf("huge");
  blobs.blobSizes.set(huge, 2 ** 41 + 512);
  const extents = [{ at: 0, blob: huge, offset: 0, length: 512 }];
  refused(directory({ f: file(512, extents) }), blobs, "BLOB_TOO_LARGE", /2199023256064 bytes/);
});

test("attributes in namespaces that Linux does not have are left out", () => {
  const xattrs = new Map([
    ["com.apple.quarantine", Buffer.from("x")],
    ["user.kept", Buffer.from("y")],
  ]);
  const { image } = encodeErofs({ root: directory({}, { xattrs }) }, new Blobs());
  assert.deepEqual([...decodeErofs(image).tree.root.xattrs.keys()], ["user.kept"]);
});

/** The same tree with every directory's entries, attributes and extents put in the other way round. */
function turned(root: Directory): Directory {
  const copies = new Map<Node, Node>();
  const turn = (node: Node): Node => {
    const known = copies.get(node);
    if (known !== undefined) return known;
    const xattrs = new Map([...node.xattrs].reverse());
    const copy: Node =
      node.kind === "directory"
        ? { ...node, xattrs, entries: new Map([...node.entries].reverse().map(([name, child]) => [name, turn(child)])) }
        : node.kind === "file"
          ? { ...node, xattrs, extents: [...node.extents].reverse() }
          : { ...node, xattrs };
    copies.set(node, copy);
    return copy;
  };
  return turn(root) as Directory;
}
