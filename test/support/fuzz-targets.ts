// What is fuzzed, and what must hold of it for every input. `scripts/fuzz.ts` looks for inputs that break it; what it found is
// kept under test/regress/ and tried again by every test run.
import assert from "node:assert/strict";
import { isFailure } from "#base";
import { planParts } from "#artifact";
import { decodeErofs, encodeErofs } from "#erofs";
import { digestOf, formatReference, parseManifest, parseReference } from "#oci";
import { readTar, TAR_END, tarHeader, tarPadding, type TarBytes, type TarEntry, type TarHeader } from "#tar";
import { addFile, applyArchive, applyLayer, createTree, dumpTree, finish, lookup, walk, type FileTree } from "#tree";
import { ZstdFrames } from "../../src/store/zstd-frames.ts";

export interface FuzzTarget {
  readonly name: string;
  readonly seeds: () => readonly Uint8Array[];
  /** An input made from scratch: what mutation of seeds would take too long to come to. `below(n)` is a random number. */
  readonly generate?: (below: (limit: number) => number) => Uint8Array;
  /** Makes what mutation broke whole again where a reader would stop at once: checksums. */
  readonly mend?: (input: Buffer) => void;
  /** Throws where a promise is broken. Failures are answers, not broken promises. */
  readonly run: (input: Uint8Array) => void;
}

/** The value, or undefined where the call was answered with a Failure that is fit to be shown. */
function attempt<T>(call: () => T): T | undefined {
  try {
    return call();
  } catch (error) {
    if (!isFailure(error)) throw error;
    assert.notEqual(error.code, "INTERNAL", error.message);
    assert.ok(!error.message.includes("\n") && error.message.length < 2000, `not one short line: ${error.message}`);
    return undefined;
  }
}

const PLAIN: TarHeader = {
  path: "dir/file",
  type: "file",
  mode: 0o644,
  uid: 1,
  gid: 1,
  mtime: { seconds: 1, nanoseconds: 5 },
  size: 0,
  linkname: "",
  devmajor: 0,
  devminor: 0,
  xattrs: new Map(),
};

function member(fields: Partial<TarHeader>, content = ""): Uint8Array {
  const bytes = Buffer.from(content);
  return Buffer.concat([tarHeader({ ...PLAIN, size: bytes.length, ...fields }), bytes, tarPadding(bytes.length)]);
}

/** A header of a type that only GNU tar or old tars write, over a body. */
function special(typeflag: string, body: string, edit: (block: Buffer) => void = () => {}): Uint8Array {
  const bytes = Buffer.from(body, "latin1");
  const block = Buffer.from(tarHeader({ ...PLAIN, mtime: { seconds: 1, nanoseconds: 0 }, size: bytes.length }));
  block.write(typeflag, 156, "latin1");
  edit(block);
  checksum(block, 0);
  return Buffer.concat([block, bytes, tarPadding(bytes.length)]);
}

function checksum(archive: Buffer, at: number): void {
  archive.fill(" ", at + 148, at + 156);
  let sum = 0;
  for (let i = at; i < at + 512; i++) sum += archive[i] as number;
  archive.write(`${sum.toString(8).padStart(6, "0")}\0 `, at + 148, "latin1");
}

function paxBody(records: Readonly<Record<string, string>>): string {
  return Object.entries(records)
    .map(([key, value]) => {
      const rest = ` ${key}=${value}\n`;
      let length = rest.length;
      while (length !== rest.length + String(length).length) length = rest.length + String(length).length;
      return `${length}${rest}`;
    })
    .join("");
}

function oldSparse(map: readonly number[], realSize: number, isExtended = false): (block: Buffer) => void {
  return (block) => {
    block.write("ustar  \0", 257, "latin1");
    for (const [i, number] of map.slice(0, 8).entries())
      block.write(number.toString(8).padStart(11, "0"), 386 + i * 12, "latin1");
    block.write(realSize.toString(8).padStart(11, "0"), 483, "latin1");
    if (isExtended) block[482] = 1;
  };
}

function tarSeeds(): readonly Uint8Array[] {
  const sparse = {
    "GNU.sparse.major": "1",
    "GNU.sparse.minor": "0",
    "GNU.sparse.name": "sp",
    "GNU.sparse.realsize": "9000",
  };
  const members: readonly Uint8Array[] = [
    member({ path: "dir/", type: "directory", mode: 0o1755 }),
    member({}, "hello"),
    member({ path: "dir/hard", type: "hardlink", linkname: "dir/file" }),
    member({ path: "soft", type: "symlink", linkname: "../dir" }),
    member({ path: "soft/below" }, "x".repeat(600)),
    member({ path: "null", type: "char", devmajor: 1, devminor: 3 }),
    member({ path: "dir/.wh.file" }),
    member({ path: "dir/.wh..wh..opq" }),
    member({ path: "long/".repeat(60), xattrs: new Map([["user.a", Buffer.from("b")]]), uid: 3_000_000 }),
    special("L", `${"gnu/".repeat(50)}\0`),
    special("K", `${"target/".repeat(30)}\0`),
    special("g", paxBody({ comment: "c", "SCHILY.xattr.user.g": "1" })),
    special("x", paxBody({ path: "pax", size: "5", mtime: "-1.5", "LIBARCHIVE.xattr.user.b": "Mg==" })),
    special("0", "12345"),
    special("x", paxBody(sparse)),
    special("0", `2\n0\n100\n5000\n412\n${"\0".repeat(512 - 17)}${"y".repeat(512)}`),
    special(
      "x",
      paxBody({ "GNU.sparse.size": "9000", "GNU.sparse.map": "0,100,5000,412", "GNU.sparse.numblocks": "2" }),
    ),
    special("0", "z".repeat(512)),
    special("S", "w".repeat(512), oldSparse([0, 100, 5000, 412], 9000)),
  ];
  return [...members, Buffer.concat(members), Buffer.concat([...members, TAR_END])];
}

const NAMES = [
  "a",
  "b",
  "a/b",
  "b/a",
  "a/b/a",
  "./a/",
  "b//",
  "dir/a",
  "dir",
  "/a",
  "l/a",
  "a/../b",
  "n".repeat(130),
  "",
];
const NUMBERS = [0, 1, 100, 412, 511, 512, 513, 1000, 1024, 5000, 9000];
const TYPES = ["file", "file", "directory", "symlink", "hardlink", "char", "fifo"] as const;

/** A few members that hang together: names that meet, links that lead somewhere, sparse maps that nearly fit. */
function generateTar(below: (limit: number) => number): Uint8Array {
  const pick = <T>(list: readonly T[]): T => list[below(list.length)] as T;
  const numbers = (): number[] => {
    const list = Array.from({ length: below(7) }, () => pick(NUMBERS));
    return below(3) === 0 ? list : list.sort((a, b) => a - b);
  };
  const body = (): string => "x".repeat(pick(NUMBERS));
  const parts = Array.from({ length: 1 + below(8) }, () => {
    const map = numbers();
    const realSize = String(pick(NUMBERS));
    switch (below(10)) {
      case 0: {
        const sparse = { "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": realSize };
        const lines = [Math.floor(map.length / 2) + below(2), ...map].map((number) => `${number}\n`).join("");
        return [special("x", paxBody(sparse)), special("0", lines.padEnd(512, "\0") + body())];
      }
      case 1: {
        const sparse = { "GNU.sparse.size": realSize, "GNU.sparse.map": map.join(",") };
        return [special("x", paxBody(sparse)), special("0", body())];
      }
      case 2: {
        const pairs = map.map((n, i) => paxBody({ [`GNU.sparse.${i % 2 === 0 ? "offset" : "numbytes"}`]: String(n) }));
        return [special("x", paxBody({ "GNU.sparse.size": realSize }) + pairs.join("")), special("0", body())];
      }
      case 3:
        return [special("S", body(), oldSparse(map, Number(realSize), below(3) === 0))];
      case 4:
        return [special(pick(["L", "K"]), `${pick(NAMES)}\0`)];
      case 5:
        return [
          special(
            pick(["g", "x"]),
            paxBody({ [pick(["path", "size", "uid", "mtime", "linkpath"])]: pick([...NAMES, "5"]) }),
          ),
        ];
      case 6:
        return [
          member({ path: pick(["a/", "b/", ""]) + pick([".wh.a", ".wh.b", ".wh..wh..opq", ".wh.", ".wh..wh.plnk"]) }),
        ];
      default: {
        const type = pick(TYPES);
        const path = type === "symlink" ? pick(["l", "a", "b/l"]) : pick(NAMES);
        const linkname = type === "symlink" || type === "hardlink" ? pick([...NAMES, "..", "/", "l"]) : "";
        return [member({ path, type, linkname }, type === "file" ? body() : "")];
      }
    }
  });
  const whole = Buffer.concat([...parts.flat(), below(2) === 0 ? TAR_END : Buffer.of()]);
  return below(4) === 0 ? whole.subarray(0, below(whole.length + 1)) : whole;
}

const tar: FuzzTarget = {
  name: "tar",
  seeds: tarSeeds,
  generate: generateTar,
  mend(input) {
    for (let at = 0; at + 512 <= input.length; at += 512)
      if (input.subarray(at, at + 512).some((byte) => byte !== 0) && looksLikeHeader(input, at)) checksum(input, at);
  },
  run(input) {
    const entries = attempt(() => [...readTar(over(input, 1 << 20))]);
    assert.deepEqual(
      attempt(() => [...readTar(over(input, 700))]),
      entries,
      "the same archive in other pieces",
    );
    for (const entry of entries ?? []) checkEntry(entry, input.length);
    const blob = digestOf(input);
    const applied = [
      attempt(() => {
        const tree = createTree({ names: 50_000, steps: 1_000_000 });
        applyLayer(tree, readTar(over(input, 4096)), blob);
        applyLayer(tree, readTar(over(input, 4096)), blob);
        return finish(tree);
      }),
      attempt(() => {
        const tree = createTree({ names: 50_000 });
        applyArchive(tree, readTar(over(input, 4096)), blob, { strip: "dir", under: "a/b" });
        addFile(tree, "a/file", { blob, size: input.length });
        return finish(tree);
      }),
    ];
    for (const tree of applied) if (tree !== undefined) checkTree(tree, input);
  },
};

function looksLikeHeader(input: Buffer, at: number): boolean {
  return input.toString("latin1", at + 257, at + 262) === "ustar";
}

function over(input: Uint8Array, most: number): TarBytes {
  const archive = Buffer.from(input.buffer, input.byteOffset, input.length);
  return {
    size: archive.length,
    read: (offset, into) => {
      assert.ok(into.length <= Math.max(most, 2 ** 20), "a read that is too big");
      return archive.copy(into, 0, offset);
    },
  };
}

function checkEntry(entry: TarEntry, length: number): void {
  const { size, extents, mode, mtime } = entry;
  assert.ok(Number.isSafeInteger(size) && size >= 0);
  assert.ok(mode >= 0 && mode <= 0o7777);
  assert.ok(Number.isSafeInteger(mtime.seconds) && mtime.nanoseconds >= 0 && mtime.nanoseconds < 1e9);
  let at = 0;
  let offset = 0;
  for (const extent of extents) {
    assert.ok(extent.length > 0 && extent.at >= at && extent.offset >= offset, "extents ascend and do not overlap");
    at = extent.at + extent.length;
    offset = extent.offset + extent.length;
  }
  assert.ok(at <= size && offset <= length, "extents lie inside of the file and of the archive");
}

function checkTree(tree: FileTree, input: Uint8Array): void {
  const names: string[] = [];
  for (const [path] of walk(tree)) {
    names.push(path);
    const parts = path.split("/");
    assert.ok(path === "" || parts.every((part) => part !== "" && part !== "." && part !== ".."), path);
    assert.ok(!path.includes("\0"));
  }
  assert.ok(dumpTree(tree).endsWith("\n"));
  for (const path of names.slice(0, 20)) attempt(() => lookup(tree, path));
  const blob = digestOf(input);
  const tail = input.subarray(input.length - (input.length % 512));
  const blobs = { blobSizes: new Map([[blob, input.length]]), blobTails: new Map([[blob, tail]]) };
  const image = attempt(() => encodeErofs(tree, blobs).image);
  if (image === undefined) return;
  assert.deepEqual([...walk(decodeErofs(image).tree)].map(([path]) => path).sort(), names.sort());
}

const digest = (content: string): string => digestOf(content);

function manifestSeeds(): readonly Uint8Array[] {
  const layer = (mediaType: string, annotations = {}, more = {}): object => ({
    mediaType,
    digest: digest(mediaType + JSON.stringify(annotations)),
    size: 3,
    annotations,
    ...more,
  });
  const layers = [
    layer("application/vnd.oci.image.layer.v1.tar+gzip", { "org.opencontainers.image.title": "a/b.txt" }),
    layer("application/vnd.oci.image.layer.v1.tar", {
      "org.opencontainers.image.title": "dir",
      "io.deis.oras.content.unpack": "true",
    }),
    layer("application/vnd.cncf.model.weight.v1.raw", {
      "org.cncf.model.filepath": "w.bin",
      "org.cncf.model.file.metadata+json": '{"mode":420,"uid":0,"mtime":"2024-01-01T00:00:00Z"}',
    }),
    layer("application/vnd.kitops.modelkit.dataset.v1.tar"),
    layer("application/vnd.kitops.modelkit.model.v1.raw+gzip"),
    layer("application/vnd.docker.ai.gguf.v3"),
    layer("application/vnd.ollama.image.tensor", {}, { name: "t.0" }),
    layer("application/vnd.cncf.helm.chart.provenance.v1.prov"),
    layer("application/vnd.cncf.flux.content.v1.yaml"),
    layer("application/wasm"),
    layer("application/vnd.oci.empty.v1+json", {}, { data: "e30=" }),
  ];
  const configs = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.oci.empty.v1+json",
    "application/vnd.kitops.modelkit.config.v1+json",
    "application/vnd.docker.ai.model.config.v0.1+json",
    "application/vnd.cncf.helm.config.v1+json",
    "application/vnd.cncf.flux.config.v1+json",
    "application/vnd.wasm.config.v0+json",
    "application/vnd.cncf.model.config.v1+json",
    "application/vnd.amazon.soci.index.v2+json",
  ];
  const json = (value: object): Uint8Array => Buffer.from(JSON.stringify(value));
  return [
    ...configs.map((mediaType) =>
      json({ schemaVersion: 2, config: { mediaType, digest: digest(mediaType), size: 2 }, layers }),
    ),
    ...layers.map((one) =>
      json({
        schemaVersion: 2,
        artifactType: "a/b",
        config: { mediaType: configs[2], digest: digest(""), size: 2 },
        layers: [one],
      }),
    ),
    json({
      schemaVersion: 2,
      manifests: [
        layer("application/vnd.oci.image.manifest.v1+json", {}, { platform: { os: "linux", architecture: "amd64" } }),
      ],
    }),
  ];
}

const KITFILE = {
  rootfs: { type: "layers", diff_ids: [digest("a")] },
  name: "chart",
  version: "1",
  model: { path: "m/x", parts: [{ path: "p" }] },
  datasets: [{ path: "../d" }, { path: "e/f" }],
  code: [{ path: "c", digest: digest("c") }],
};

const manifest: FuzzTarget = {
  name: "manifest",
  seeds: manifestSeeds,
  run(input) {
    const parsed = attempt(() => parseManifest(input));
    if (parsed?.kind !== "manifest") return;
    for (const config of [Buffer.of(), Buffer.from(JSON.stringify(KITFILE)), input]) {
      const parts = attempt(() => planParts(parsed, config).parts);
      for (const part of parts ?? []) {
        const paths = part.kind === "layer" ? [] : part.kind === "archive" ? [part.strip, part.under] : [part.path];
        for (const path of paths)
          assert.ok(
            path === undefined ||
              path.split("/").every((name) => !["", ".", ".."].includes(name) && !name.includes("\0")),
            `an unsafe path was planned: ${JSON.stringify(path)}`,
          );
      }
    }
  },
};

const reference: FuzzTarget = {
  name: "reference",
  seeds: () =>
    ["busybox", "quay.io/crio/artifact:v1", "localhost:5000/a/b:t@sha256:".concat("0".repeat(64)), "[::1]:5000/x"].map(
      (text) => Buffer.from(text),
    ),
  run(input) {
    const text = Buffer.from(input).toString("utf8");
    const parsed = attempt(() => parseReference(text));
    if (parsed === undefined) return;
    assert.deepEqual(parseReference(formatReference(parsed)), parsed);
  },
};

const erofs: FuzzTarget = {
  name: "erofs",
  seeds() {
    const tree = createTree();
    const archive = Buffer.concat([...tarSeeds().slice(0, 6), TAR_END]);
    const blob = digestOf(archive);
    applyLayer(tree, readTar(over(archive, 2 ** 20)), blob);
    const blobs = { blobSizes: new Map([[blob, archive.length]]), blobTails: new Map() };
    return [encodeErofs(finish(tree), blobs).image];
  },
  run(input) {
    const decoded = attempt(() => decodeErofs(input));
    if (decoded !== undefined) for (const _ of walk(decoded.tree)) continue;
  },
};

const zstdFrames: FuzzTarget = {
  name: "zstd-frames",
  seeds: () => [
    Buffer.from("28b52ffd240361000061626393c1a5ff", "hex"),
    Buffer.from("502a4d18040000004142434428b52ffd2000010000", "hex"),
  ],
  run(input) {
    for (const size of [1, 7, input.length || 1]) {
      const frames = new ZstdFrames();
      const pieces: Uint8Array[] = [];
      attempt(() => {
        for (let at = 0; at < input.length; at += size) pieces.push(...frames.split(input.subarray(at, at + size)));
        assert.deepEqual(Buffer.concat(pieces), Buffer.from(input), "nothing is lost or added");
      });
    }
  },
};

export const FUZZ_TARGETS: readonly FuzzTarget[] = [tar, manifest, reference, erofs, zstdFrames];
