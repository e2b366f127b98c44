import { Failure, bytesOf } from "#base";
import type { Node } from "#tree";
import { XATTR, XATTR_PREFIXES, alignUp } from "./format.ts";

/** The extended attributes of a whole image: what more than one inode has is stored once and shared. */
export interface XattrPlan {
  /** The area of the shared attributes. */
  readonly shared: Uint8Array;
  /** What follows an inode: header, ids of shared attributes, attributes of its own. Nodes without attributes are missing. */
  readonly bodies: ReadonlyMap<Node, Uint8Array>;
}

/** Shared attributes of one inode: their count is a byte. */
const SHARED_LIMIT = 255;

/**
 * Attributes in namespaces that Linux does not have (`com.apple.…`) are left out, as unpacking leaves them out.
 *
 * @throws Failure XATTR_TOO_LARGE
 */
export function planXattrs(nodes: readonly Node[], path: (index: number) => string): XattrPlan {
  const uses = new Map<string, { readonly bytes: Uint8Array; count: number; id: number }>();
  const encoded: (readonly [Node, readonly string[]])[] = [];
  for (const [index, node] of nodes.entries()) {
    if (node.xattrs.size === 0) continue;
    const keys: string[] = [];
    for (const [name, value] of node.xattrs) {
      const bytes = entryOf(name, value, () => path(index));
      if (bytes === undefined) continue;
      const key = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
      keys.push(key);
      const use = uses.get(key);
      if (use === undefined) uses.set(key, { bytes, count: 1, id: -1 });
      else use.count++;
    }
    if (keys.length > 0) encoded.push([node, keys.sort()]);
  }

  const shared: Uint8Array[] = [];
  let end = 0;
  for (const key of [...uses.keys()].sort()) {
    const use = uses.get(key);
    if (use === undefined || use.count < 2) continue;
    use.id = end / 4;
    shared.push(use.bytes);
    end += use.bytes.length;
  }

  const bodies = new Map<Node, Uint8Array>();
  for (const [node, keys] of encoded) {
    const all = keys.flatMap((key) => uses.get(key) ?? []);
    const ids = all.filter((use) => use.id >= 0).slice(0, SHARED_LIMIT);
    const own = all.filter((use) => !ids.includes(use));
    const head = Buffer.alloc(XATTR.header + 4 * ids.length);
    head.writeUInt8(ids.length, XATTR.sharedCount);
    for (const [i, { id }] of ids.entries()) head.writeUInt32LE(id, XATTR.header + 4 * i);
    const body = Buffer.concat([head, ...own.map((use) => use.bytes)]);
    if (body.length > XATTR.bodyLimit)
      throw tooLarge(path(nodes.indexOf(node)), `all together are ${body.length} bytes`);
    bodies.set(node, body);
  }
  return { shared: Buffer.concat(shared), bodies };
}

/** Lengths, namespace, name and value, padded to 4 bytes; undefined where Linux has no such namespace. */
function entryOf(name: string, value: Uint8Array, path: () => string): Buffer | undefined {
  const found = XATTR_PREFIXES.find(([prefix]) => (prefix.endsWith(".") ? name.startsWith(prefix) : name === prefix));
  if (found === undefined) return undefined;
  const [prefix, index] = found;
  const rest = bytesOf(name.slice(prefix.length));
  if (prefix.length + rest.length > 255 || (rest.length === 0 && prefix.endsWith(".")))
    throw tooLarge(path(), `the name ${JSON.stringify(name)} has no length between 1 and 255`);
  if (value.length > XATTR.valueLimit) throw tooLarge(path(), `${name} is ${value.length} bytes`);
  const entry = Buffer.alloc(alignUp(XATTR.entry + rest.length + value.length, 4));
  entry.writeUInt8(rest.length, 0);
  entry.writeUInt8(index, 1);
  entry.writeUInt16LE(value.length, 2);
  entry.set(rest, XATTR.entry);
  entry.set(value, XATTR.entry + rest.length);
  return entry;
}

function tooLarge(path: string, why: string): Failure {
  return new Failure(
    "FAILED_PRECONDITION",
    "XATTR_TOO_LARGE",
    `${path}: EROFS cannot hold its extended attributes: ${why}`,
  );
}
