import fc from "fast-check";
import { bytesOf, nameOf } from "#base";
import type { Attributes, Directory, Extent, Node } from "#tree";
import { Blobs, PLAIN, pattern } from "./trees.ts";

/** (uid_t)-1 is nobody. */
const LAST_ID = 0xfffffffe;

export const BLOBS = new Blobs();
const tar = BLOBS.add(pattern(64 * 512, 4));
const raw = BLOBS.add(pattern(3333, 5));

/** Random trees over those two blobs: every kind, names of any bytes, hard links, files with holes, and files that end inside a block. */
export function trees(): fc.Arbitrary<Directory> {
  const name = fc
    .oneof(
      fc.string({ minLength: 1, maxLength: 12, unit: "binary" }),
      fc.uint8Array({ minLength: 1, maxLength: 255 }).map(nameOf),
    )
    .filter((text) => !/[/\0]/.test(text) && text !== "." && text !== ".." && bytesOf(text).length <= 255);
  const attributes: fc.Arbitrary<Attributes> = fc.record({
    mode: fc.nat(0o7777),
    uid: fc.oneof(fc.constant(0), fc.nat(LAST_ID)),
    gid: fc.oneof(fc.constant(0), fc.nat(LAST_ID)),
    mtime: fc.oneof(
      fc.constant(PLAIN.mtime),
      fc.record({ seconds: fc.integer({ min: -(2 ** 33), max: 2 ** 33 }), nanoseconds: fc.nat(999_999_999) }),
    ),
    xattrs: fc
      .dictionary(
        fc
          .tuple(fc.constantFrom("user.", "trusted.", "security."), fc.stringMatching(/^[a-z]{1,3}$/))
          .map((x) => x.join("")),
        fc.uint8Array({ maxLength: 40 }),
        { maxKeys: 3 },
      )
      .map((record) => new Map(Object.entries(record))),
  });
  const piece = fc.record({ at: fc.nat(40), offset: fc.nat(60), length: fc.integer({ min: 1, max: 4 }) });
  const sparse = fc.tuple(fc.array(piece, { maxLength: 5 }), fc.nat(3000)).map(([pieces, more]) => {
    const extents: Extent[] = [];
    let end = 0;
    for (const { at, offset, length } of pieces) {
      end += at * 512;
      extents.push({ at: end, blob: tar, offset: offset * 512, length: length * 512 });
      end += length * 512;
    }
    return { size: end + more, extents };
  });
  const whole = fc.record({ offset: fc.nat(60), size: fc.integer({ min: 1, max: 2000 }) }).map(({ offset, size }) => ({
    size,
    extents: [{ at: 0, blob: tar, offset: offset * 512, length: size }],
  }));
  const tail = fc.nat(6).map((block) => {
    const length = 3333 - block * 512;
    return { size: length, extents: [{ at: 0, blob: raw, offset: block * 512, length }] };
  });
  const withAttributes = <T extends object>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<Attributes & T> =>
    fc.tuple(attributes, arbitrary).map(([first, second]) => ({ ...first, ...second }));
  const leaf: fc.Arbitrary<Node> = fc.oneof(
    withAttributes(
      fc
        .oneof(sparse, whole, tail, fc.constant({ size: 0, extents: [] }))
        .map((data) => ({ kind: "file" as const, ...data })),
    ),
    withAttributes(
      fc
        .string({ minLength: 1, maxLength: 700 })
        .filter((text) => !text.includes("\0"))
        .map((target) => ({ kind: "symlink" as const, target })),
    ),
    withAttributes(
      fc.record({
        kind: fc.constantFrom("char" as const, "block" as const),
        major: fc.nat(4095),
        minor: fc.nat(0xfffff),
      }),
    ),
    withAttributes(fc.record({ kind: fc.constantFrom("fifo" as const, "socket" as const) })),
  );
  const { root } = fc.letrec<{ node: Node; root: Directory }>((tie) => ({
    node: fc.oneof({ maxDepth: 4, depthIdentifier: "tree" }, leaf, tie("root")),
    root: fc
      .tuple(attributes, fc.array(fc.tuple(name, tie("node")), { maxLength: 30, depthIdentifier: "tree" }))
      .map(([own, entries]) => ({ ...own, kind: "directory" as const, entries: new Map(entries) })),
  }));
  return fc.tuple(root, fc.array(name, { maxLength: 3 })).map(([directory, links]) => {
    const files = [...directory.entries.values()].filter((node) => node.kind !== "directory");
    const more = links.flatMap((link, i) =>
      files[i] === undefined || directory.entries.has(link) ? [] : [[link, files[i]] as const],
    );
    return { ...directory, entries: new Map([...directory.entries, ...more]) };
  });
}
