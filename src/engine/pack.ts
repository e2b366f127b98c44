import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { lstat, open, readdir, readlink, realpath } from "node:fs/promises";
import { basename, isAbsolute, join, normalize } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGzip, createZstdCompress, constants } from "node:zlib";
import { Failure, errnoOf } from "#base";
import { finish, type Digest } from "#oci";
import { TAR_END, tarHeader, tarPadding, type TarHeader } from "#tar";

const CHUNK = 1024 * 1024;

export type PackCompression = "gzip" | "zstd" | "none";

/** What was packed into a file of ours. */
export interface Packed {
  readonly path: string;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  /** Of the tar before it was compressed. */
  readonly diffId: Digest;
}

/** A path that a person named, and the name it gets in the object: none where a directory's content is the root. */
export interface Item {
  readonly path: string;
  readonly name: string;
  readonly isDirectory: boolean;
  readonly size: number;
}

/**
 * A relative path keeps its name, as with ORAS; one that is absolute or leads upwards is called by its last component, because
 * nobody could unpack it elsewhere.
 */
export async function itemOf(path: string): Promise<Item> {
  const clean = normalize(path).replace(/(?<=.)\/$/, "");
  const name =
    isAbsolute(clean) || clean.startsWith("..") || clean === "." ? basename(join(process.cwd(), clean)) : clean;
  try {
    // A symlink that a person names stands for what it points to; those inside a directory are packed as they are.
    const real = await realpath(clean);
    const found = await lstat(real);
    if (!found.isDirectory() && !found.isFile())
      throw new Failure("INVALID_ARGUMENT", "NOT_A_FILE", `${path} is neither a file nor a directory`);
    return { path: real, name, isDirectory: found.isDirectory(), size: found.isDirectory() ? 0 : found.size };
  } catch (cause) {
    if (errnoOf(cause) !== "ENOENT") throw cause;
    throw new Failure("NOT_FOUND", "NO_SUCH_FILE", `${path} does not exist`, { cause });
  }
}

/** Packs items into one tar at `to`: sorted by name, so that the same files give the same bytes. */
export async function packTar(
  items: readonly Item[],
  to: string,
  compression: PackCompression,
  signal?: AbortSignal,
): Promise<Packed> {
  const plain = createHash("sha256");
  const whole = createHash("sha256");
  let size = 0;
  const out = await open(to, "wx", 0o600);
  try {
    const bytes = hashed(compressed(hashed(tarOf(items), plain), compression), whole);
    for await (const chunk of bytes) {
      signal?.throwIfAborted();
      await out.writeFile(chunk);
      size += chunk.length;
    }
  } finally {
    await out.close();
  }
  return { path: to, digest: finish(whole), size, diffId: finish(plain) };
}

/** The digest of a file as it is. */
export async function digestOfFile(path: string, signal?: AbortSignal): Promise<{ digest: Digest; size: number }> {
  const hash = createHash("sha256");
  let size = 0;
  const options = { highWaterMark: CHUNK, ...(signal === undefined ? {} : { signal }) };
  for await (const chunk of createReadStream(path, options) as AsyncIterable<Buffer>) {
    hash.update(chunk);
    size += chunk.length;
  }
  return { digest: finish(hash), size };
}

async function* hashed(bytes: AsyncIterable<Uint8Array>, hash: Hash): AsyncGenerator<Uint8Array> {
  for await (const chunk of bytes) {
    hash.update(chunk);
    yield chunk;
  }
}

async function* compressed(bytes: AsyncIterable<Uint8Array>, compression: PackCompression): AsyncGenerator<Uint8Array> {
  if (compression === "none") {
    yield* bytes;
    return;
  }
  const params = { [constants.ZSTD_c_checksumFlag]: 1 };
  const stream =
    compression === "gzip" ? createGzip({ chunkSize: CHUNK }) : createZstdCompress({ chunkSize: CHUNK, params });
  const fed = pipeline(bytes, stream);
  // Whoever reads the stream sees the error first.
  fed.catch(() => undefined);
  yield* stream as AsyncIterable<Uint8Array>;
  await fed;
}

async function* tarOf(items: readonly Item[]): AsyncGenerator<Uint8Array> {
  const links = new Map<string, string>();
  const parents = new Set<string>();
  for (const { path, name } of items.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    // A file at a/b/c needs a and a/b, which nobody named.
    const components = name.split("/");
    for (let i = 1; i < components.length; i++) {
      const parent = components.slice(0, i).join("/");
      if (parents.has(parent)) continue;
      parents.add(parent);
      yield tarHeader({ ...PLAIN, path: `${parent}/`, type: "directory", mode: 0o755 });
    }
    yield* membersOf(path, name, links);
  }
  yield TAR_END;
}

async function* membersOf(path: string, name: string, links: Map<string, string>): AsyncGenerator<Uint8Array> {
  const found = await lstat(path, { bigint: true });
  const header: TarHeader = {
    ...PLAIN,
    path: name,
    type: "file",
    mode: Number(found.mode) & 0o7777,
    mtime: { seconds: Number(found.mtimeNs / 1_000_000_000n), nanoseconds: 0 },
  };
  if (found.isDirectory()) {
    if (name !== "") yield tarHeader({ ...header, path: `${name}/`, type: "directory" });
    const prefix = name === "" ? "" : `${name}/`;
    for (const child of (await readdir(path)).sort()) yield* membersOf(join(path, child), prefix + child, links);
    return;
  }
  if (found.isSymbolicLink()) {
    yield tarHeader({ ...header, type: "symlink", mode: 0o777, linkname: await readlink(path) });
    return;
  }
  if (!found.isFile())
    throw new Failure("INVALID_ARGUMENT", "NOT_A_FILE", `${path} is neither a file, a directory nor a symlink`);
  const inode = `${found.dev}:${found.ino}`;
  const before = links.get(inode);
  if (found.nlink > 1n && before !== undefined) {
    yield tarHeader({ ...header, type: "hardlink", linkname: before });
    return;
  }
  links.set(inode, name);
  const size = Number(found.size);
  yield tarHeader({ ...header, size });
  let sent = 0;
  if (size > 0)
    for await (const chunk of createReadStream(path, {
      highWaterMark: CHUNK,
      end: size - 1,
    }) as AsyncIterable<Buffer>) {
      sent += chunk.length;
      yield chunk;
    }
  if (sent !== size)
    throw new Failure("ABORTED", "FILE_CHANGED", `${path} became shorter while it was read; push again when it rests`);
  yield tarPadding(size);
}

const PLAIN = {
  uid: 0,
  gid: 0,
  size: 0,
  mtime: { seconds: 0, nanoseconds: 0 },
  linkname: "",
  devmajor: 0,
  devminor: 0,
  xattrs: new Map<string, Uint8Array>(),
} as const;
