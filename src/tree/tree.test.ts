import assert from "node:assert/strict";
import { test } from "node:test";
import { isFailure } from "#base";
import { digestOf } from "#oci";
import type { TarEntry } from "#tar";
import { addFile, applyArchive, applyLayer, createTree, dumpTree, finish, lookup, walk, type FileTree } from "#tree";

const BLOB = digestOf("a blob");
const OTHER = digestOf("another blob");

/** `d/` is a directory, `l -> t` a symlink, `h => t` a hard link, anything else a file of one byte. */
function entry(text: string, more: Partial<TarEntry> = {}): TarEntry {
  const [, path = text, arrow, linkname = ""] = /^(.*?) (->|=>) (.*)$/.exec(text) ?? [];
  const type = arrow === "->" ? "symlink" : arrow === "=>" ? "hardlink" : path.endsWith("/") ? "directory" : "file";
  return {
    path,
    type,
    mode: type === "directory" ? 0o700 : 0o600,
    uid: 1,
    gid: 1,
    mtime: { seconds: 1, nanoseconds: 0 },
    size: type === "file" ? 1 : 0,
    extents: type === "file" ? [{ at: 0, offset: 512, length: 1 }] : [],
    linkname,
    devmajor: 0,
    devminor: 0,
    xattrs: new Map(),
    ...more,
  };
}

function merged(...layers: readonly (readonly (string | TarEntry)[])[]): FileTree {
  const tree = createTree();
  for (const layer of layers)
    applyLayer(
      tree,
      layer.map((item) => (typeof item === "string" ? entry(item) : item)),
      BLOB,
    );
  return finish(tree);
}

/** Names only: `d/`, `f`, `l -> t`, and `f = g` for the second name of one file. */
function names(tree: FileTree): string[] {
  const first = new Map<object, string>();
  return [...walk(tree)].slice(1).map(([path, node]) => {
    const other = first.get(node);
    if (other !== undefined) return `${path} = ${other}`;
    first.set(node, path);
    return node.kind === "directory" ? `${path}/` : node.kind === "symlink" ? `${path} -> ${node.target}` : path;
  });
}

function attributes(tree: FileTree, path: string): string {
  const { node } = lookup(tree, path);
  return `${node.mode.toString(8)} ${node.uid}`;
}

function refuses(run: () => unknown, reason: string, message: RegExp): void {
  assert.throws(run, (error) => {
    assert.ok(isFailure(error, reason), String(error));
    assert.match(error.message, message);
    return true;
  });
}

test("layers: later files win, directories are merged and take the later attributes", () => {
  const tree = merged(
    ["d/", "d/a", "d/b"],
    [entry("d/", { mode: 0o711, uid: 5 }), entry("d/a", { mode: 0o640 }), "d/c"],
  );
  assert.deepEqual(names(tree), ["d/", "d/a", "d/b", "d/c"]);
  assert.deepEqual(
    ["d", "d/a", "d/b"].map((path) => attributes(tree, path)),
    ["711 5", "640 1", "600 1"],
  );
});

test("layers: leading / and ./ mean nothing, and the root's own entry sets its attributes", () => {
  const tree = merged([entry("./", { mode: 0o555 }), "/a", "./b", ".//c/./d"]);
  assert.deepEqual(names(tree), ["a", "b", "c/", "c/d"]);
  assert.equal(attributes(tree, ""), "555 1");
});

test("layers: a directory that nothing names is root's and 0755, until something names it", () => {
  assert.equal(attributes(merged(["d/e/f"]), "d/e"), "755 0");
  assert.equal(attributes(merged(["d/e/f", "d/e/"]), "d/e"), "700 1");
  assert.equal(attributes(merged(["d/"], ["d/f"]), "d"), "700 1");
});

test("whiteouts hide what lower layers brought, wherever they stand, and never what their own layer brings", () => {
  assert.deepEqual(names(merged(["a", "d/x", "d/y"], [".wh.a", "d/.wh.x"])), ["d/", "d/y"]);
  assert.deepEqual(names(merged(["a"], ["a", ".wh.a"])), ["a"]);
  assert.deepEqual(names(merged(["a"], [".wh.a", "a"])), ["a"]);
  assert.deepEqual(names(merged(["d/x", "d/y"], ["d/z", ".wh.d"])), ["d/", "d/z"]);
  assert.deepEqual(names(merged(["d/x", "d/y"], [".wh.d", "d/z"])), ["d/", "d/z"]);
  assert.deepEqual(names(merged(["a"], [".wh.nothing", "none/.wh.x"])), ["a"]);
  assert.deepEqual(names(merged(["a"], [".wh.a"], ["a"])), ["a"]);
  assert.deepEqual(names(merged(["a"], ["a/b", ".wh.a"])), ["a/", "a/b"]);
  assert.deepEqual(names(merged(["d/a"], ["d/a/b", "d/.wh..wh..opq"])), ["d/", "d/a/", "d/a/b"]);
});

test("opaque whiteouts clear lower siblings at every depth, wherever they stand", () => {
  const lower = ["d/", "d/x", "d/e/y", "d/e/z", "k"];
  for (const upper of [
    ["d/.wh..wh..opq", "d/n", "d/e/m"],
    ["d/n", "d/e/m", "d/.wh..wh..opq"],
    ["d/n", "d/.wh..wh..opq", "d/e/m"],
  ]) {
    const tree = merged(lower, upper);
    assert.deepEqual(names(tree), ["d/", "d/e/", "d/e/m", "d/n", "k"]);
    assert.equal(attributes(tree, "d"), "700 1", "the directory itself stays");
    assert.equal(attributes(tree, "d/e"), "755 0", "one that was hidden and came back owes nothing to the old one");
  }
  assert.deepEqual(names(merged(lower, [".wh..wh..opq"])), []);
});

test("a whiteout that hides no name is an error, AUFS' own names are skipped", () => {
  for (const bad of ["d/.wh.", ".wh..", ".wh...", ".wh.d/f", "d/.wh.e/f/"])
    refuses(() => merged([bad]), "INVALID_LAYER", new RegExp(BLOB));
  assert.deepEqual(names(merged(["a", ".wh..wh.plnk/1.2", ".wh..wh.aufs"])), ["a"]);
});

test("hard links: one node, across layers, and their other names outlive a whiteout", () => {
  assert.deepEqual(names(merged(["a", "b => a"])), ["a", "b = a"]);
  assert.deepEqual(names(merged(["a"], ["d/b => /a"])), ["a", "d/", "d/b = a"]);
  assert.deepEqual(names(merged(["a", "b => a"], [".wh.a"])), ["b"]);
  assert.deepEqual(names(merged(["a"], ["b => a", ".wh.a"])), ["b"]);
  assert.deepEqual(names(merged(["l -> x", "m => l"])), ["l -> x", "m = l"]);
  const replaced = merged(["a", "b => a"], [entry("a", { mode: 0o777 })]);
  assert.deepEqual([attributes(replaced, "a"), attributes(replaced, "b")], ["777 1", "600 1"]);
});

test("hard links to nothing, in a loop or to a directory are refused", () => {
  refuses(() => merged(["a => b", "b => a"]), "INVALID_LAYER", /"a" in sha256:.* hard link to "b", which is not there/);
  refuses(() => merged(["a", ".wh.x"], [".wh.a", "b => a"]), "INVALID_LAYER", /"b"/);
  refuses(() => merged(["d/", "e => d"]), "INVALID_LAYER", /directory/);
  assert.deepEqual(names(merged(["a", "a => a"])), ["a"]);
});

test("a file replaces a directory, and the reverse", () => {
  assert.deepEqual(names(merged(["d/", "d/x"], ["d"])), ["d"]);
  assert.deepEqual(names(merged(["d"], ["d/", "d/x"])), ["d/", "d/x"]);
  assert.deepEqual(names(merged(["d/x", "l -> d"], ["l/"])), ["d/", "d/x", "l/"]);
  refuses(() => merged(["d"], ["d/x"]), "UNSAFE_PATH", /no directory/);
});

test("layers follow symlinks in the parents of a name, inside the tree", () => {
  assert.deepEqual(names(merged(["b/", "a -> b", "a/f"])), ["a -> b", "b/", "b/f"]);
  assert.deepEqual(names(merged(["usr/lib/", "lib -> /usr/lib"], ["lib/f"])), [
    "lib -> /usr/lib",
    "usr/",
    "usr/lib/",
    "usr/lib/f",
  ]);
  assert.deepEqual(names(merged(["a -> ../../x", "a/f"])), ["a -> ../../x", "x/", "x/f"]);
  assert.deepEqual(names(merged(["b/x", "a -> b"], ["a/.wh.x"])), ["a -> b", "b/"]);
  refuses(() => merged(["a -> b", "b -> a", "a/f"]), "UNSAFE_PATH", /"a\/f"/);
});

test("names that no tree can hold are refused with the blob that has them", () => {
  for (const bad of ["../a", "a/../b", "a/..", "x\0y", "n".repeat(256), `d/${"ü".repeat(128)}`])
    refuses(() => merged([bad]), "UNSAFE_PATH", new RegExp(BLOB));
  assert.deepEqual(names(merged(["a..b", "..c", "n".repeat(255), "ü".repeat(127)])).length, 4);
  refuses(() => merged(["h => ../a"]), "UNSAFE_PATH", /\.\./);
  refuses(() => merged([entry("f", { uid: -1 })]), "INVALID_LAYER", /owner/);
  refuses(() => merged([entry(".", {})]), "UNSAFE_PATH", /root/);
});

test("archives: the prefix goes, the place comes, links inside follow", () => {
  const tree = createTree();
  applyArchive(
    tree,
    ["t/s/", "t/s/f", "t/s/h => t/s/f", "t/s/l -> /etc"].map((text) => entry(text)),
    BLOB,
    {
      strip: "t/s",
      under: "u/v",
    },
  );
  assert.deepEqual(names(finish(tree)), ["u/", "u/v/", "u/v/f", "u/v/h = u/v/f", "u/v/l -> /etc"]);
  assert.equal(attributes(finish(tree), "u/v"), "700 1");
});

test("archives know no whiteouts, and the later file wins", () => {
  const tree = createTree();
  applyArchive(tree, [entry(".wh.a"), entry("a"), entry("a", { mode: 0o640 })], BLOB);
  assert.deepEqual(names(finish(tree)), [".wh.a", "a"]);
  assert.equal(attributes(finish(tree), "a"), "640 1");
});

test("archives: absolute names, .., paths through symlinks and collisions are refused", () => {
  const unpack = (...texts: readonly string[]) =>
    applyArchive(
      createTree(),
      texts.map((text) => entry(text)),
      BLOB,
    );
  for (const bad of [["/a"], ["../a"], ["l -> d", "l/f"], ["f", "f/g"], ["d/", "d"], ["f", "f/"], ["f", "h => /f"]])
    refuses(() => unpack(...bad), "UNSAFE_PATH", new RegExp(BLOB));
  refuses(() => unpack("h => nothing"), "INVALID_LAYER", /no file of the archive/);
});

test("files: one path, one blob", () => {
  const tree = createTree();
  addFile(tree, "./a/b", { blob: BLOB, size: 3, mode: 0o755, mtime: 1.5 });
  addFile(tree, "a/b", { blob: BLOB, size: 3 });
  refuses(() => addFile(tree, "a/b", { blob: OTHER, size: 3 }), "UNSAFE_PATH", new RegExp(OTHER));
  for (const bad of ["a", "a/b/c", "/x", "../x", "", "x/", "."])
    refuses(() => addFile(tree, bad, { blob: OTHER, size: 1 }), "UNSAFE_PATH", new RegExp(OTHER));
  addFile(tree, "empty", { blob: OTHER, size: 0 });
  assert.equal(
    dumpTree(finish(tree)),
    [
      "/\tdirectory 0755 0:0 0",
      "/a\tdirectory 0755 0:0 0",
      `/a/b\tfile 0755 0:0 1.500000000 3 0<${BLOB.slice(0, 19)}:0+3`,
      "/empty\tfile 0644 0:0 0 0",
      "",
    ].join("\n"),
  );
});

test("a tree grows to its limit and no further", () => {
  const tree = createTree({ names: 2 });
  applyLayer(tree, [entry("a"), entry("b"), entry("a")], BLOB);
  refuses(() => applyLayer(tree, [entry("c")], BLOB), "TREE_LIMIT", /more than 2/);
});

test("lookup follows symlinks inside the tree and says where the thing really is", () => {
  const tree = merged(["d/e/f", "l -> d/e", "d/up -> ../l/f", "abs -> /d", "out -> ../d", "loop -> loop", "dead -> x"]);
  assert.deepEqual(lookup(tree, "").path, []);
  assert.deepEqual(lookup(tree, "./d//e/").path, ["d", "e"]);
  assert.deepEqual(lookup(tree, "l/f").path, ["d", "e", "f"]);
  assert.deepEqual(lookup(tree, "d/up").path, ["d", "e", "f"]);
  assert.equal(lookup(tree, "d/up").node.kind, "file");
  for (const missing of ["x", "d/x", "d/e/f/g", "dead", "loop", "l/x"])
    refuses(() => lookup(tree, missing), "SUBPATH_NOT_FOUND", /does not exist/);
  for (const bad of ["/d", "..", "d/../d", "abs", "abs/e", "out"])
    refuses(() => lookup(tree, bad), "UNSAFE_PATH", /refused/);
});

test("names that are no UTF-8 keep their bytes and their order", () => {
  const tree = merged(["\ud83d\ude00", "\uffee", "\udcff", "a b\\"]);
  assert.deepEqual(
    [...walk(tree)].map(([path]) => path),
    ["", "a b\\", "\uffee", "\ud83d\ude00", "\udcff"],
  );
  assert.match(dumpTree(tree), /\/a\\x20b\\x5c\t.*\n\/\\xef\\xbf\\xae\t.*\n\/\\xf0\\x9f\\x98\\x80\t.*\n\/\\xff\t/);
});
