// Archives made to hurt whoever reads them: each ends in a clear error, before it has cost much memory or time.
import assert from "node:assert/strict";
import { test } from "node:test";
import { isFailure } from "#base";
import { digestOf } from "#oci";
import { readTar, TAR_END, tarHeader, type TarBytes, type TarHeader, type TarLimits } from "#tar";
import { applyLayer, createTree, finish, lookup, type TreeLimits } from "#tree";
import { PLAIN } from "../../test/support/tar-header.ts";

const BLOB = digestOf("a blob");
/** An archive that is never in memory: `head` once, then `body` again and again. */
function repeated(head: Uint8Array, body: Uint8Array, times: number): TarBytes {
  const size = head.length + body.length * times;
  return {
    size,
    read(offset, into) {
      const length = Math.min(into.length, size - offset);
      for (let done = 0; done < length;) {
        const at = offset + done;
        const [source, from] = at < head.length ? [head, at] : [body, (at - head.length) % body.length];
        const piece = source.subarray(from, from + length - done);
        into.set(piece, done);
        done += piece.length;
      }
      return length;
    },
  };
}

function headers(...members: readonly Partial<TarHeader>[]): Buffer {
  return Buffer.concat(members.map((member) => tarHeader({ ...PLAIN, ...member })));
}

type Limits = Partial<TarLimits & TreeLimits>;

function refused(bytes: TarBytes, reason: string, message: RegExp, limits: Limits = {}): void {
  assert.throws(
    () => applyLayer(createTree(limits), readTar(bytes, limits), BLOB),
    (error) => {
      assert.ok(isFailure(error, reason), String(error));
      assert.match(error.message, message);
      assert.ok(error.message.length < 1000 && !error.message.includes("\n"), "the message is one short line");
      return true;
    },
  );
}

const NOTHING = new Uint8Array(0);

test("a million members in a megabyte of gzip", () => {
  refused(repeated(NOTHING, headers({ path: "f" }), 1_000_000), "TAR_LIMIT", /more than 750000 members/);
});

test("a PAX header of a gibibyte, and a gibibyte of PAX headers", () => {
  const one = Buffer.from(headers({ path: "x".repeat(200) }).subarray(0, 512));
  one.write((2 ** 30).toString(8).padStart(11, "0"), 124);
  one.fill(" ", 148, 156);
  one.write(
    `${one
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, "0")}\0 `,
    148,
  );
  refused(repeated(one, new Uint8Array(512), 2 ** 21), "TAR_LIMIT", /1073741824 bytes/);

  const attributes = Array.from({ length: 16 }, (_, i) => [`user.${i}`, new Uint8Array(60_000)] as const);
  const many = headers({ path: "x", xattrs: new Map(attributes) });
  refused(repeated(NOTHING, many, 2000), "TAR_LIMIT", /need more than/);
});

test("a global header with many attributes is one map for all who inherit it", () => {
  const xattrs = new Map(Array.from({ length: 20_000 }, (_, i) => [`user.${i}`, new Uint8Array(1)]));
  const global = Buffer.from(headers({ xattrs }).subarray(0, -512));
  global.write("g", 156);
  global.fill(" ", 148, 156);
  const sum = global.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  global.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  const maps = new Set<unknown>();
  for (const entry of readTar(repeated(global, headers({}), 1000))) maps.add(entry.xattrs);
  assert.equal(maps.size, 1);
  const own = headers({ xattrs: new Map([["user.own", new Uint8Array(1)]]) });
  refused(repeated(global, own, 100_000), "TAR_LIMIT", /need more than/, { metadata: 2 ** 24 });
});

test("global headers that add one attribute each", () => {
  const pairs = Array.from({ length: 2000 }, (_, i) => {
    const global = Buffer.from(headers({ xattrs: new Map([[`user.${i}`, new Uint8Array(1)]]) }).subarray(0, 1024));
    global.write("g", 156);
    global.fill(" ", 148, 156);
    const sum = global.subarray(0, 512).reduce((total, byte) => total + byte, 0);
    global.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
    return Buffer.concat([global, headers({ path: String(i) })]);
  });
  refused(repeated(Buffer.concat(pairs), TAR_END, 1), "TAR_LIMIT", /need more than/, { metadata: 2 ** 24 });
});

test("a size that lies", () => {
  refused(
    repeated(headers({ size: 2 ** 40 }), TAR_END, 1),
    "INVALID_TAR",
    /offset \d+: it ends at \d+, inside the data/,
  );
});

test("hard links in a loop, to themselves, and to a name that breaks lines", () => {
  const link = (path: string, linkname: string): Partial<TarHeader> => ({ path, type: "hardlink", linkname });
  refused(repeated(headers(link("a", "b"), link("b", "a")), TAR_END, 1), "INVALID_LAYER", /hard link to "b"/);
  refused(repeated(headers(link("a", "a")), TAR_END, 1), "INVALID_LAYER", /hard link to "a"/);
  refused(repeated(headers(link("a", "x\ny")), TAR_END, 1), "INVALID_LAYER", /hard link to "x\\ny"/);
});

test("symlinks in circles", () => {
  const loop = headers({ path: "a", type: "symlink", linkname: "b" }, { path: "b", type: "symlink", linkname: "a" });
  refused(repeated(Buffer.concat([loop, headers({ path: "a/f" })]), TAR_END, 1), "UNSAFE_PATH", /"a\/f"/);
  const tree = createTree();
  applyLayer(tree, readTar(repeated(loop, TAR_END, 1)), BLOB);
  assert.throws(() => lookup(finish(tree), "a"), /does not exist/);
});

test("symlinks that go round many corners, named again and again", () => {
  const corners = "d/../".repeat(800);
  const chain = Array.from({ length: 39 }, (_, i) => ({
    path: `s${i}`,
    type: "symlink" as const,
    linkname: `${corners}${i === 38 ? "d" : `s${i + 1}`}`,
  }));
  const head = headers({ path: "d", type: "directory" }, ...chain);
  refused(repeated(head, headers({ path: "s0/.wh.x" }), 100_000), "TREE_LIMIT", /corners/, { steps: 1_000_000 });
});

test("directories without end", () => {
  const deep = "a/".repeat(5000);
  refused(repeated(headers({ path: `${deep}f` }), TAR_END, 1), "UNSAFE_PATH", /longer than 4095 bytes/);
  const comb = Array.from({ length: 600 }, (_, i) => ({ path: `${i}/${"b/".repeat(2000)}f` }));
  refused(repeated(headers(...comb), TAR_END, 1), "TREE_LIMIT", /more than 1000000 files/);
});

test("whiteouts of one big directory, again and again", () => {
  const tree = createTree();
  const names = Array.from({ length: 20_000 }, (_, i) => ({ path: `d/${i}` }));
  applyLayer(tree, readTar(repeated(headers(...names), TAR_END, 1)), BLOB);
  const again = names.map(({ path }) => ({ path: `${path}x` }));
  const whiteouts = headers({ path: "d/.wh..wh..opq" }, { path: ".wh.d" });
  applyLayer(tree, readTar(repeated(headers(...again), whiteouts, 20_000)), BLOB);
  const { node } = lookup(finish(tree), "d");
  assert.ok(node.kind === "directory");
  assert.equal(node.entries.size, 20_000);
});
