import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isFailure } from "#base";
import {
  looksLikeTar,
  readTar,
  TAR_END,
  tarHeader,
  tarPadding,
  type TarBytes,
  type TarEntry,
  type TarHeader,
} from "#tar";
import { PLAIN } from "../../test/support/tar-header.ts";

function over(archive: Uint8Array): TarBytes {
  return {
    size: archive.length,
    read: (offset, into) => Buffer.from(archive.buffer, archive.byteOffset, archive.length).copy(into, 0, offset),
  };
}

function pack(...members: readonly (Partial<TarHeader> & { readonly content?: string })[]): Buffer {
  const blocks = members.flatMap(({ content = "", ...header }) => {
    const bytes = Buffer.from(content);
    return [tarHeader({ ...PLAIN, size: bytes.length, ...header }), bytes, tarPadding(bytes.length)];
  });
  return Buffer.concat([...blocks, TAR_END]);
}

function read(archive: Uint8Array, limits = {}): TarEntry[] {
  return [...readTar(over(archive), limits)];
}

/** One header block, by hand: what is not given is a ustar file's. */
function block(fields: Readonly<Record<number, string | Buffer>>, typeflag: string, size: number | Buffer = 0): Buffer {
  const header = Buffer.from(tarHeader({ ...PLAIN, path: "hand" }));
  header.write(typeflag, 156, "latin1");
  if (typeof size === "number") header.write(size.toString(8).padStart(11, "0"), 124);
  else size.copy(header, 124);
  for (const [at, value] of Object.entries(fields)) Buffer.from(value as string, "latin1").copy(header, Number(at));
  return checksummed(header);
}

function checksummed(header: Buffer, signed = false): Buffer {
  header.fill(" ", 148, 156);
  const sum = header.reduce((total, byte) => total + (signed && byte > 127 ? byte - 256 : byte), 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return header;
}

function padded(text: string | Buffer): Buffer {
  return Buffer.concat([Buffer.from(text as string), tarPadding(Buffer.byteLength(text))]);
}

function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length;
  while (length !== rest.length + String(length).length) length = rest.length + String(length).length;
  return `${length}${rest}`;
}

function pax(records: Readonly<Record<string, string>>, typeflag = "x"): Buffer {
  const body = Object.entries(records)
    .map(([key, value]) => paxRecord(key, value))
    .join("");
  return Buffer.concat([block({}, typeflag, Buffer.byteLength(body)), padded(body)]);
}

test("every kind of member with its attributes", () => {
  const entries = read(
    pack(
      { path: "d/", type: "directory", mode: 0o1755 },
      { path: "d/f", content: "hello", uid: 7, gid: 8, mtime: { seconds: 99, nanoseconds: 0 } },
      { path: "d/h", type: "hardlink", linkname: "d/f" },
      { path: "d/s", type: "symlink", linkname: "../d/f" },
      { path: "d/c", type: "char", devmajor: 1, devminor: 3 },
      { path: "d/p", type: "fifo" },
    ),
  );
  assert.deepEqual(
    entries.map(({ path, type, linkname }) => [path, type, linkname]),
    [
      ["d/", "directory", ""],
      ["d/f", "file", ""],
      ["d/h", "hardlink", "d/f"],
      ["d/s", "symlink", "../d/f"],
      ["d/c", "char", ""],
      ["d/p", "fifo", ""],
    ],
  );
  const [directory, file, , , device] = entries;
  assert.equal(directory?.mode, 0o1755);
  assert.deepEqual([file?.uid, file?.gid, file?.mtime.seconds], [7, 8, 99]);
  assert.deepEqual(file?.extents, [{ at: 0, offset: 1024, length: 5 }]);
  assert.deepEqual([device?.devmajor, device?.devminor], [1, 3]);
});

test("what is written is what is read, whatever it says", () => {
  const name = fc.string({ unit: "binary", minLength: 1, maxLength: 150 }).filter((text) => !text.includes("\0"));
  const time = fc.record(
    { seconds: fc.integer({ min: -(2 ** 40), max: 2 ** 40 }), nanoseconds: fc.nat(999_999_999) },
    { noNullPrototype: true },
  );
  const xattrs = fc.array(fc.tuple(fc.stringMatching(/^user\.[a-z=%]{1,9}$/), fc.uint8Array({ maxLength: 300 })));
  const header = fc.record({
    path: name,
    type: fc.constantFrom("file", "symlink", "hardlink", "directory", "fifo"),
    mode: fc.nat(0o7777),
    uid: fc.nat(2 ** 32 - 2),
    gid: fc.nat(2 ** 32 - 2),
    mtime: time,
    linkname: name,
    content: fc.string({ maxLength: 1200 }),
    xattrs: xattrs.map((pairs) => new Map(pairs)),
  });
  fc.assert(
    fc.property(fc.array(header, { maxLength: 8 }), (headers) => {
      const members = headers.map((header) => ({
        ...header,
        content: header.type === "file" ? header.content : "",
        linkname: header.type.endsWith("link") ? header.linkname : "",
      }));
      const archive = pack(...members);
      const entries = read(archive);
      assert.equal(entries.length, members.length);
      for (const [i, { content, ...header }] of members.entries()) {
        const { extents, size, devmajor, devminor, xattrs, ...entry } = entries[i] as TarEntry;
        assert.deepEqual(
          { ...entry, xattrs: [...xattrs].map(([k, v]) => [k, [...v]]) },
          {
            ...header,
            xattrs: [...header.xattrs].map(([k, v]) => [k, [...v]]),
          },
        );
        const bytes = extents.map(({ offset, length }) => archive.toString("utf8", offset, offset + length)).join("");
        assert.equal(bytes, content);
        assert.deepEqual([size, devmajor, devminor], [Buffer.byteLength(content), 0, 0]);
      }
    }),
  );
});

test("numbers in base 256: a size of 9 TiB whose data is not there is told, a negative time is understood", () => {
  const time = Buffer.alloc(12, 0xff);
  time.writeInt32BE(-5, 8);
  assert.equal(read(Buffer.concat([block({ 136: time }, "0"), TAR_END]))[0]?.mtime.seconds, -5);
  const uid = Buffer.from([0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xf0]);
  assert.equal(read(Buffer.concat([block({ 108: uid }, "0"), TAR_END]))[0]?.uid, 0xfffffff0);
  const size = Buffer.alloc(12);
  size[0] = 0x80;
  size.writeBigUInt64BE(9n << 40n, 4);
  assert.throws(() => read(Buffer.concat([block({}, "0", size), TAR_END])), /inside the data of "hand"/);
});

test("GNU long names and links, and records that override them", () => {
  const long = "x/".repeat(200) + "end";
  const gnu = Buffer.concat([
    block({}, "L", long.length + 1),
    padded(`${long}\0`),
    block({}, "K", long.length + 1),
    padded(`${long}\0`),
  ]);
  const [entry] = read(Buffer.concat([gnu, block({}, "2"), TAR_END]));
  assert.deepEqual([entry?.path, entry?.linkname], [long, long]);
  const [other, next] = read(Buffer.concat([gnu, pax({ path: "pax" }), block({}, "2"), block({}, "0"), TAR_END]));
  assert.deepEqual([other?.path, other?.linkname, next?.path], ["pax", long, "hand"]);
});

test("a global header holds until a member's own, and an empty value takes it back", () => {
  const archive = [
    pax({ uid: "5", comment: "c" }, "g"),
    block({}, "0"),
    pax({ uid: "6" }),
    block({}, "0"),
    pax({ uid: "" }),
  ];
  const entries = read(Buffer.concat([...archive, block({}, "0"), TAR_END]));
  assert.deepEqual(
    entries.map((entry) => entry.uid),
    [5, 6, 0],
  );
});

test("times before the epoch, with and without a fraction", () => {
  const times = ["-1.25", "-1", "-0.5", "1.000000001999", "3."].map((mtime) =>
    Buffer.concat([pax({ mtime }), block({}, "0")]),
  );
  assert.deepEqual(
    read(Buffer.concat([...times, TAR_END])).map(({ mtime }) => [mtime.seconds, mtime.nanoseconds]),
    [
      [-2, 750_000_000],
      [-1, 0],
      [-1, 500_000_000],
      [1, 1],
      [3, 0],
    ],
  );
});

test("extended attributes in all spellings", () => {
  const names = (records: Readonly<Record<string, string>>): string[] => {
    const [entry] = read(Buffer.concat([pax(records), block({}, "0"), TAR_END]));
    return [...(entry?.xattrs ?? [])].map(([name, value]) => `${name}:${Buffer.from(value).toString()}`);
  };
  assert.deepEqual(
    names({ "SCHILY.xattr.user.a": "1", "LIBARCHIVE.xattr.user.b%20%c3%bc": "Mg==", "RHT.security.selinux": "label" }),
    ["user.a:1", "user.b ü:2", "security.selinux:label"],
  );
  assert.deepEqual(names({ "SCHILY.xattr.user.%253D%3D": "GNU" }), ["user.%3D=:GNU"]);
  assert.deepEqual(names({ "LIBARCHIVE.xattr.user.x%20y": "Mg==", "SCHILY.xattr.user.x%20y": "2" }), ["user.x y:2"]);
});

test("old tars: signed checksums, directories by their slash, no magic", () => {
  const header = block({ 0: Buffer.from("grüße/\0"), 257: Buffer.alloc(8) }, "\0");
  assert.ok(looksLikeTar(checksummed(header, true)));
  const [entry] = read(Buffer.concat([header, TAR_END]));
  assert.deepEqual([entry?.path, entry?.type], ["grüße/", "directory"]);
});

test("the end: missing, alone, or followed by junk", () => {
  const whole = pack({ path: "a", content: "1" }, { path: "b", content: "2" });
  const names = (archive: Buffer): string[] => read(archive).map((entry) => entry.path);
  assert.deepEqual(names(whole.subarray(0, -1024)), ["a", "b"]);
  assert.deepEqual(names(whole.subarray(0, -512)), ["a", "b"]);
  assert.deepEqual(names(whole.subarray(0, -1024 - 511)), ["a", "b"]);
  assert.deepEqual(names(Buffer.concat([whole, Buffer.from("junk")])), ["a", "b"]);
  assert.deepEqual(names(Buffer.alloc(0)), []);
  assert.deepEqual(names(Buffer.alloc(10_240)), []);
});

test("a broken archive is told with its offset", () => {
  const whole = pack({ path: "a", content: "x".repeat(2000) }, { path: "b" });
  const fails = (archive: Buffer, expected: RegExp): void =>
    assert.throws(
      () => read(archive),
      (error) => isFailure(error, "INVALID_TAR") && expected.test(error.message),
    );
  fails(whole.subarray(0, 1000), /offset 0: it ends at 1000, inside the data of "a"/);
  fails(whole.subarray(0, 2700), /offset 2560: it ends inside a header/);
  fails(Buffer.from("<html>".repeat(100)), /offset 0: it is no tar/);
  const damaged = Buffer.from(whole);
  damaged[2560] = 1;
  fails(damaged, /offset 2560: a header has a wrong checksum/);
  fails(Buffer.concat([block({ 108: "99999999" }, "0"), TAR_END]), /field uid/);
  fails(Buffer.concat([block({}, "x", 12), padded("99 path=a\n\0\0"), TAR_END]), /wrong length/);
  fails(pax({ path: "a" }).subarray(0, 515), /inside an extended header/);
});

test("limits hold before memory is spent", () => {
  const huge = Buffer.concat([block({}, "x", 2 ** 30), TAR_END]);
  const limited = (archive: Buffer, limits: object, expected: RegExp): void =>
    assert.throws(
      () => read(archive, limits),
      (error) => isFailure(error, "TAR_LIMIT") && expected.test(error.message),
    );
  limited(huge, {}, /1073741824 bytes/);
  limited(pack({ path: "a" }, { path: "b" }), { entries: 1 }, /more than 1 members/);
  limited(pack({ path: "a".repeat(90) }), { metadata: 50 }, /more than 50 bytes/);
});

test("a blob is taken for a tar by its first header only", () => {
  assert.ok(looksLikeTar(pack({ path: "a" })));
  assert.ok(looksLikeTar(pack({ path: "x".repeat(300) })));
  assert.ok(!looksLikeTar(Buffer.alloc(512)));
  assert.ok(!looksLikeTar(Buffer.alloc(100)));
  assert.ok(!looksLikeTar(Buffer.from("GGUF".repeat(200))));
});

test("headers that lie close together are read many at a time, and data is not read", () => {
  const small = pack(...Array.from({ length: 3000 }, (_, i) => ({ path: `f${i}`, content: "x" })));
  let calls = 0;
  const counting: TarBytes = { size: small.length, read: (at, into) => (calls++, over(small).read(at, into)) };
  assert.equal([...readTar(counting)].length, 3000);
  assert.ok(calls < 30, `${calls} reads`);

  const big = pack(...Array.from({ length: 20 }, (_, i) => ({ path: `f${i}`, content: "x".repeat(1_000_000) })));
  let bytes = 0;
  const weighing: TarBytes = {
    size: big.length,
    read: (at, into) => ((bytes += into.length), over(big).read(at, into)),
  };
  assert.equal([...readTar(weighing)].length, 20);
  assert.ok(bytes < 400_000, `${bytes} bytes`);
});
