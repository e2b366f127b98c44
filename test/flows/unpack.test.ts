// What GNU tar and umoci make of archives and images, and what we make of the same bytes, must be one tree.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { digestOf, MEDIA, type Descriptor } from "#oci";
import { readTar, TAR_END, tarHeader, tarPadding, type TarHeader } from "#tar";
import { applyArchive, applyLayer, createTree, finish, type FileTree } from "#tree";
import { over, tar, treeOf, view, type Timed } from "../support/tree-view.ts";

const scratch = mkdtempSync(join(tmpdir(), "orlop-unpack-"));
after(() => rmSync(scratch, { recursive: true, force: true }));
let count = 0;
const fresh = (): string => {
  const path = join(scratch, String(count++));
  mkdirSync(path);
  return path;
};

const PLAIN: TarHeader = {
  path: "f",
  type: "file",
  mode: 0o644,
  uid: 0,
  gid: 0,
  mtime: { seconds: 1_000_000_000, nanoseconds: 0 },
  size: 0,
  linkname: "",
  devmajor: 0,
  devminor: 0,
  xattrs: new Map(),
};

type Member = Partial<TarHeader> & { readonly content?: string };

function pack(members: readonly Member[]): Buffer {
  const blocks = members.flatMap(({ content = "", ...header }) => {
    const bytes = Buffer.from(content);
    return [tarHeader({ ...PLAIN, size: bytes.length, ...header }), bytes, tarPadding(bytes.length)];
  });
  return Buffer.concat([...blocks, TAR_END]);
}

/** A directory with everything that a tar can hold. */
function everything(): string {
  const root = fresh();
  const path = (name: string): string => join(root, name);
  mkdirSync(path("d/deep/er"), { recursive: true });
  writeFileSync(path("d/file"), "hello\n");
  linkSync(path("d/file"), path("d/deep/hard"));
  symlinkSync("../file", path("d/deep/soft"));
  writeFileSync(path(`d/${"long-".repeat(40)}`), "x".repeat(1000));
  symlinkSync("far/".repeat(60), path("d/longlink"));
  writeFileSync(path("d/grüße ☃\n"), "");
  writeFileSync(path("d/sparse"), "begin");
  truncateSync(path("d/sparse"), 3_000_000);
  writeFileSync(path("d/sparse"), "end", { flag: "a" });
  execFileSync("mkfifo", [path("d/fifo")]);
  execFileSync("mknod", [path("d/null"), "c", "1", "3"]);
  execFileSync("chown", ["3000000:70000", path("d/deep/er")]);
  execFileSync("chmod", ["6711", path("d/file")]);
  execFileSync("touch", ["-h", "-d", "1955-11-05 06:15:00.123456789Z", path("d/deep/soft"), path("d/deep")]);
  return root;
}

for (const format of ["gnu", "oldgnu", "pax", "ustar", "v7"])
  for (const options of [
    ["--sparse"],
    [],
    ["--sparse", "--sparse-version=0.0"],
    ["--sparse", "--sparse-version=0.1"],
  ]) {
    if (options.length === 2 && format !== "pax") continue;
    if (options.length === 1 && ["ustar", "v7"].includes(format)) continue;
    test(`GNU tar's own archives, ${format} ${options.join(" ")}`, () => {
      // tar leaves out what a format has no room for, and says so by its exit code; what is in there must come out.
      const source = everything();
      let archive: Buffer;
      try {
        archive = tar("-c", `--format=${format}`, "--sort=name", ...options, "-C", source, ".");
      } catch (error) {
        archive = (error as { stdout: Buffer }).stdout;
      }
      compare(archive);
    });
  }

function compare(archive: Buffer, isTimed: Timed = namedIn([archive])): void {
  const target = fresh();
  const file = join(fresh(), "archive.tar");
  writeFileSync(file, archive);
  tar("-x", "-p", "--same-owner", "--xattrs", "--xattrs-include=*", "-C", target, "-f", file);
  const digest = digestOf(archive);
  const tree = createTree();
  applyArchive(tree, readTar(over(archive)), digest);
  const theirs = treeOf(target);
  assert.deepEqual(view(finish(tree), new Map([[digest, archive]]), isTimed), view(theirs.tree, theirs.blobs, isTimed));
}

function namedIn(archives: readonly Buffer[]): Timed {
  const named = new Set<string>();
  for (const archive of archives)
    for (const { path } of readTar(over(archive)))
      named.add(
        path
          .split("/")
          .filter((part) => part !== "" && part !== ".")
          .join("/"),
      );
  return (path) => named.has(path);
}

/** Where missing directories are made, neither tar nor umoci gives the ones above their time back. */
const never: Timed = () => false;

const name = fc.constantFrom("a", "b", "c", "grüße", `n${"x".repeat(99)}`, "z".repeat(255));
const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => names.join("/"));
const member: fc.Arbitrary<Member> = fc.record(
  {
    path,
    type: fc.constantFrom("file", "file", "file", "directory", "directory", "symlink", "hardlink", "fifo", "char"),
    mode: fc.nat(0o777).map((mode) => mode | 0o700),
    uid: fc.constantFrom(0, 1, 0o7777777, 0o10000000, 4_000_000_000),
    gid: fc.constantFrom(0, 1, 4_000_000_000),
    mtime: fc.record(
      { seconds: fc.integer({ min: -1_000_000_000, max: 3_000_000_000 }), nanoseconds: fc.nat(999_999_999) },
      { noNullPrototype: true },
    ),
    linkname: path,
    devmajor: fc.nat(255),
    devminor: fc.nat(255),
    content: fc.string({ maxLength: 1500 }),
    xattrs: fc
      .array(fc.tuple(fc.constantFrom("user.a", "user.b"), fc.uint8Array({ maxLength: 40 })))
      .map((all) => new Map(all)),
  },
  { noNullPrototype: true },
);

/** Names once each and no path through anything but directories, so that nothing is left to an unpacker's taste. */
function consistent(members: readonly Member[]): Member[] {
  const kinds = new Map<string, string>();
  const kept: Member[] = [];
  for (const member of members) {
    const { path: at = "", type = "file", linkname = "" } = member;
    const parents = at
      .split("/")
      .map((_, i, all) => all.slice(0, i).join("/"))
      .slice(1);
    if (kinds.has(at) || parents.some((parent) => (kinds.get(parent) ?? "directory") !== "directory")) continue;
    if (type === "hardlink" && kinds.get(linkname) !== "file") continue;
    for (const parent of parents) if (!kinds.has(parent)) kinds.set(parent, "directory");
    kinds.set(at, type);
    const isPlain = type === "file" || type === "directory";
    kept.push({
      ...member,
      content: type === "file" ? (member.content ?? "") : "",
      linkname: type.endsWith("link") ? linkname : "",
      xattrs: isPlain ? (member.xattrs ?? new Map<string, Uint8Array>()) : new Map<string, Uint8Array>(),
      ...(type === "char" ? {} : { devmajor: 0, devminor: 0 }),
    });
  }
  return kept;
}

test("random archives are what GNU tar takes them for", () => {
  fc.assert(
    fc.property(fc.array(member, { maxLength: 12 }), (members) => compare(pack(consistent(members)), never)),
    { numRuns: 40 },
  );
});

function writeImage(layout: string, layers: readonly Buffer[]): void {
  const blobs = join(layout, "blobs/sha256");
  mkdirSync(blobs, { recursive: true });
  const put = (bytes: Buffer, mediaType: string): Descriptor => {
    const digest = digestOf(bytes);
    writeFileSync(join(blobs, digest.slice("sha256:".length)), bytes);
    return { mediaType, digest, size: bytes.length };
  };
  const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
  const descriptors = layers.map((layer) => put(layer, MEDIA.layer));
  const rootfs = { type: "layers", diff_ids: descriptors.map(({ digest }) => digest) };
  const config = put(json({ architecture: "amd64", os: "linux", config: {}, rootfs }), MEDIA.imageConfig);
  const manifest = put(
    json({ schemaVersion: 2, mediaType: MEDIA.manifest, config, layers: descriptors }),
    MEDIA.manifest,
  );
  const annotations = { "org.opencontainers.image.ref.name": "test" };
  writeFileSync(join(layout, "index.json"), json({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] }));
  writeFileSync(join(layout, "oci-layout"), json({ imageLayoutVersion: "1.0.0" }));
}

/** Unpacks the image in both ways and compares the trees. False where umoci refuses it. */
function compareImage(layers: readonly Buffer[], isTimed: Timed = namedIn(layers)): boolean {
  const [layout, bundle] = [fresh(), join(fresh(), "bundle")];
  writeImage(layout, layers);
  try {
    execFileSync("umoci", ["unpack", "--image", `${layout}:test`, bundle], { stdio: ["ignore", "pipe", "pipe"] });
  } catch (error) {
    if (error instanceof Error && "stderr" in error && /unpack entry/.test(String(error.stderr))) return false;
    throw error;
  }
  const tree = merged(layers);
  const theirs = treeOf(join(bundle, "rootfs"));
  const ours = view(tree, new Map(layers.map((layer) => [digestOf(layer), layer])), isTimed);
  assert.deepEqual(ours, view(theirs.tree, theirs.blobs, isTimed));
  return true;
}

function merged(layers: readonly Buffer[]): FileTree {
  const tree = createTree();
  for (const layer of layers) applyLayer(tree, readTar(over(layer)), digestOf(layer));
  return finish(tree);
}

/** `d/` is a directory, `l -> t` a symlink, `h => t` a hard link, anything else a file whose content is its number. */
function layer(...texts: readonly string[]): Buffer {
  return pack(
    texts.map((text, i) => {
      const [, path = text, arrow, linkname = ""] = /^(.*?) (->|=>) (.*)$/.exec(text) ?? [];
      const type = arrow === "->" ? "symlink" : arrow === "=>" ? "hardlink" : path.endsWith("/") ? "directory" : "file";
      const isLink = arrow !== undefined;
      return {
        path,
        type,
        linkname,
        mode: isLink ? 0o777 : 0o751,
        uid: isLink ? 0 : i,
        content: type === "file" ? text : "",
      };
    }),
  );
}

const IMAGES: Readonly<Record<string, readonly Buffer[]>> = {
  "whiteouts and opaque whiteouts": [
    layer("a", "b/", "b/x", "b/y/", "b/y/z", "c/d/e", "k"),
    layer(".wh.a", "b/.wh.x", "c/", "c/new", "c/.wh..wh..opq"),
    layer("b/y/w", "b/y/.wh.z", ".wh.nothing", "none/.wh.x"),
  ],
  "files for directories and the reverse": [
    layer("d/", "d/x", "f", "s -> d"),
    layer("d", "f/", "f/y", "s/"),
    layer("s"),
  ],
  "hard links across layers and whiteouts": [
    layer("a", "b => a", "d/c => a", "l -> a"),
    layer(".wh.a", "e => b", "m -> l"),
    layer("n => e", ".wh.e", "d/"),
  ],
  "directories that are symlinks": [
    layer("usr/", "usr/lib/", "lib -> usr/lib", "abs -> /usr", "up -> ../usr"),
    layer("lib/f", "abs/g", "up/h", "lib/.wh.f"),
  ],
  "empty layers": [layer(), layer("a"), Buffer.alloc(1024)],
  "directories named again": [
    layer("d/", "d/x"),
    pack([{ path: "d", type: "directory", mode: 0o1777, uid: 9, xattrs: new Map([["user.a", Buffer.from("b")]]) }]),
  ],
};
for (const [title, layers] of Object.entries(IMAGES))
  test(`umoci makes the same of ${title}`, () => {
    assert.ok(compareImage(layers));
  });

const REFUSED: Readonly<Record<string, readonly Buffer[]>> = {
  "a hard link to nothing": [layer("a => b")],
  "a name below a file": [layer("a"), layer("a/b")],
};
for (const [title, layers] of Object.entries(REFUSED))
  test(`umoci and we refuse ${title}`, () => {
    assert.ok(!compareImage(layers));
    assert.throws(() => merged(layers), /cannot be applied|is refused/);
  });

test("umoci makes the same of random layers", () => {
  let compared = 0;
  const small = fc.array(fc.constantFrom("a", "b", "c"), { minLength: 1, maxLength: 3 });
  const step = fc.record({
    at: small,
    kind: fc.constantFrom("file", "file", "directory", "directory", "whiteout", "opaque"),
    mode: fc.nat(0o777).map((mode) => mode | 0o700),
    uid: fc.nat(5),
  });
  const stacks = fc.array(fc.array(step, { maxLength: 8 }), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(stacks, (layers) => {
      const archives = layers.map((steps) => {
        // Whiteouts stand first: umoci acts in the order of the archive, and image-spec's order is theirs.
        const markers = steps.filter(({ kind }) => kind === "whiteout" || kind === "opaque");
        const others = steps.filter(({ kind }) => kind === "file" || kind === "directory");
        return pack(
          [...markers, ...others].map(({ at, kind, mode, uid }) => {
            const above = at
              .slice(0, -1)
              .map((part) => `${part}/`)
              .join("");
            if (kind === "opaque") return { path: `${at.join("/")}/.wh..wh..opq` };
            if (kind === "whiteout") return { path: `${above}.wh.${at.at(-1)}` };
            return {
              path: at.join("/"),
              type: kind,
              mode,
              uid,
              content: kind === "file" ? String(uid) : "",
            };
          }),
        );
      });
      if (compareImage(archives, never)) compared++;
    }),
    { numRuns: 40 },
  );
  assert.ok(compared >= 10, `only ${compared} were fit to be compared`);
});

test("the programs that are compared with are there", () => {
  assert.match(tar("--version").toString(), /GNU tar/);
  assert.match(execFileSync("umoci", ["--version"]).toString(), /umoci/);
  assert.ok(
    readFileSync("/proc/self/status", "utf8").includes("Uid:\t0"),
    "run as root: owners and devices are compared",
  );
});
