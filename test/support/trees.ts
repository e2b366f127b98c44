// File trees and the blobs they point into, for the tests of every room that handles both.
import { nameOf } from "#base";
import { digestOf, type Digest } from "#oci";
import type { Attributes, Directory, Extent, File, Node } from "#tree";

/** Content that differs from offset to offset, so that a read from the wrong place shows. */
export function pattern(length: number, seed = 0): Buffer {
  return Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8) * 13 + (i >> 16) + seed) & 0xff));
}

export const PLAIN: Attributes = {
  mode: 0o644,
  uid: 0,
  gid: 0,
  mtime: { seconds: 1_700_000_000, nanoseconds: 0 },
  xattrs: new Map(),
};

export class Blobs {
  readonly bytes = new Map<Digest, Buffer>();
  readonly blobSizes = new Map<Digest, number>();
  readonly blobTails = new Map<Digest, Uint8Array>();

  add(bytes: Buffer): Digest {
    const digest = digestOf(bytes);
    this.bytes.set(digest, bytes);
    this.blobSizes.set(digest, bytes.length);
    this.blobTails.set(digest, bytes.subarray(bytes.length - (bytes.length % 512)));
    return digest;
  }

  contentOf(file: File): Buffer {
    const content = Buffer.alloc(file.size);
    for (const { at, blob, offset, length } of file.extents)
      this.bytes.get(blob)?.copy(content, at, offset, offset + length);
    return content;
  }
}

export function file(size: number, extents: readonly Extent[], attributes: Partial<Attributes> = {}): File {
  return { ...PLAIN, ...attributes, kind: "file", size, extents };
}

export function directory(
  entries: Record<string, Node> | ReadonlyMap<string, Node>,
  attributes: Partial<Attributes> = {},
): Directory {
  const map = entries instanceof Map ? entries : new Map(Object.entries(entries));
  return { ...PLAIN, mode: 0o755, ...attributes, kind: "directory", entries: map };
}

export function linksOf(root: Directory): ReadonlyMap<Node, number> {
  const links = new Map<Node, number>([[root, 2]]);
  const visit = (directory: Directory) => {
    for (const child of directory.entries.values()) {
      links.set(child, (links.get(child) ?? (child.kind === "directory" ? 1 : 0)) + 1);
      if (child.kind !== "directory") continue;
      links.set(directory, (links.get(directory) ?? 0) + 1);
      visit(child);
    }
  };
  visit(root);
  return links;
}

export function everything(): { root: Directory; blobs: Blobs } {
  const blobs = new Blobs();
  const tar = blobs.add(pattern(40 * 512, 1));
  const raw = blobs.add(pattern(70_001, 2));
  const tiny = blobs.add(Buffer.from("1"));
  const odd = blobs.add(pattern(512 + 100, 3));
  const at = (offset: number, length: number): Extent[] => [{ at: 0, blob: tar, offset, length }];
  const text = (value: string) => new TextEncoder().encode(value);
  const linked = file(700, at(512, 700));
  const acl = Buffer.from("0200000001000600ffffffff04000400ffffffff20000400ffffffff", "hex");
  const root = directory(
    {
      linked,
      "a b": directory({ again: linked, empty: directory({}) }, { mode: 0o1777 }),
      exec: file(5000, at(3 * 512, 5000), { mode: 0o4755, uid: 65_536, gid: 4_000_000_000 }),
      block: file(512, at(20 * 512, 512)),
      pages: file(8192, at(21 * 512, 8192), { mtime: { seconds: -1, nanoseconds: 5 } }),
      raw: file(70_001, [{ at: 0, blob: raw, offset: 0, length: 70_001 }]),
      tiny: file(1, [{ at: 0, blob: tiny, offset: 0, length: 1 }]),
      odd: file(600, [{ at: 0, blob: odd, offset: 0, length: 600 }]),
      behind: file(100, [{ at: 0, blob: odd, offset: 512, length: 100 }], {
        mtime: { seconds: 2 ** 40, nanoseconds: 999_999_999 },
      }),
      none: file(0, []),
      hole: file(10_000, []),
      sparse: file(1_000_001, [
        { at: 512, blob: tar, offset: 5 * 512, length: 512 },
        { at: 1024, blob: raw, offset: 1024, length: 2048 },
        { at: 8192, blob: tar, offset: 7 * 512, length: 1536 },
        { at: 999_936, blob: raw, offset: 512, length: 65 },
      ]),
      tail: file(9000, [{ at: 4096, blob: tar, offset: 512, length: 4904 }]),
      short: { ...PLAIN, kind: "symlink", mode: 0o777, target: "a b/again" },
      long: { ...PLAIN, kind: "symlink", mode: 0o777, target: "x/".repeat(300) },
      longest: { ...PLAIN, kind: "symlink", mode: 0o777, target: "y".repeat(4095) },
      null: { ...PLAIN, kind: "char", mode: 0o666, major: 1, minor: 3 },
      disk: { ...PLAIN, kind: "block", mode: 0o660, major: 259, minor: 70_000 },
      pipe: { ...PLAIN, kind: "fifo" },
      socket: { ...PLAIN, kind: "socket" },
      one: file(10, at(512, 10), {
        xattrs: new Map([
          ["user.shared", text("same")],
          ["security.capability", Buffer.from("0100000200200000000000000000000000000000", "hex")],
          ["trusted.empty", text("")],
        ]),
      }),
      two: file(10, at(512, 10), {
        xattrs: new Map<string, Uint8Array>([
          ["user.shared", text("same")],
          ["user.big", pattern(5000)],
        ]),
      }),
      acl: directory(
        { x: linked },
        {
          xattrs: new Map([
            ["system.posix_acl_default", acl],
            ["system.posix_acl_access", acl],
          ]),
        },
      ),
      many: directory(new Map(Array.from({ length: 700 }, (_, i) => [`entry-${i * 7919}`, file(i, at(512, i))]))),
      ["n".repeat(255)]: file(3, at(0, 3)),
      [nameOf(Buffer.of(0x66, 0xff))]: file(4, at(0, 4)),
      "￼": file(5, at(0, 5)),
      "𝄞": file(6, at(0, 6)),
      "!before dot": file(7, at(0, 7)),
      "..x": file(8, at(0, 8)),
    },
    { xattrs: new Map([["user.shared", text("same")]]) },
  );
  return { root, blobs };
}

/** Everything that a reader sees of a tree, as text: equal texts are equal trees, however their data is cut into extents. */
export function viewOf(root: Directory, contentOf: (file: File) => Uint8Array): string {
  const numbers = new Map<Node, number>();
  const lines: string[] = [];
  const visit = (path: string, node: Node): void => {
    const known = numbers.get(node);
    const number = known ?? numbers.size;
    numbers.set(node, number);
    const { kind, mode, uid, gid, mtime } = node;
    const xattrs = [...node.xattrs].map(([name, value]) => `${name}=${Buffer.from(value).toString("hex")}`).toSorted();
    const parts = [path, number, kind, mode.toString(8), uid, gid, mtime.seconds, mtime.nanoseconds, ...xattrs];
    if (known !== undefined) parts.push("again");
    else if (node.kind === "file") parts.push(node.size, digestOf(contentOf(node)));
    else if (node.kind === "symlink") parts.push(node.target);
    else if (node.kind === "char" || node.kind === "block") parts.push(node.major, node.minor);
    lines.push(JSON.stringify(parts));
    if (node.kind !== "directory") return;
    for (const name of [...node.entries.keys()].toSorted()) {
      const child = node.entries.get(name);
      if (child !== undefined) visit(`${path}/${name}`, child);
    }
  };
  visit("", root);
  return lines.join("\n");
}
