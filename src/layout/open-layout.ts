import { Failure, type CallOptions } from "#base";
import {
  algorithmOf,
  digestOf,
  formatReference,
  parseManifest,
  type ByteRange,
  type Descriptor,
  type OpenBlob,
  type Reference,
  type Source,
} from "#oci";
import type { Catalog } from "./catalog.ts";
import { readDockerArchive } from "./docker-archive.ts";
import { DirectoryFiles, TarFiles, type Files } from "./files.ts";
import { formatLocation, type Location } from "./location.ts";
import { readOciLayout } from "./oci-layout.ts";

/** Larger content is no config or manifest: it is opened, not fetched whole. Bytes. */
const FETCH_LIMIT = 64 * 1024 * 1024;

export interface Layout extends Source, AsyncDisposable {}

/**
 * Opens an image that lies in files. `resolve` finds the image that the location names; where it names none, the one that the
 * reference names by digest, whole name or tag, or the only one there is.
 *
 * @throws Failure UNREADABLE_LAYOUT, INVALID_LAYOUT, COMPRESSED_ARCHIVE naming the path
 */
export async function openLayout(location: Location): Promise<Layout> {
  const { kind, path } = location;
  const files = kind === "oci" ? new DirectoryFiles(path) : await TarFiles.open(path);
  try {
    const catalog = await (kind === "docker-archive" ? readDockerArchive(files, path) : readOciLayout(files, path));
    return new FileLayout(location, files, catalog);
  } catch (error) {
    await files[Symbol.asyncDispose]();
    throw error;
  }
}

class FileLayout implements Layout {
  readonly name: string;
  readonly #location: Location;
  readonly #files: Files;
  readonly #catalog: Catalog;

  constructor(location: Location, files: Files, catalog: Catalog) {
    this.name = formatLocation(location);
    this.#location = location;
    this.#files = files;
    this.#catalog = catalog;
  }

  async resolve(reference: Reference): Promise<Descriptor> {
    const { images } = this.#catalog;
    const { name } = this.#location;
    const wanted =
      name === undefined
        ? [formatReference(reference), reference.tag]
        : [name, `docker.io/library/${name}`, `docker.io/${name}`];
    const found =
      name === undefined && reference.digest !== undefined
        ? images.find(({ descriptor }) => descriptor.digest === reference.digest)
        : (images.find(({ names }) => names.some((one) => wanted.includes(one))) ??
          (name === undefined && images.length === 1 ? images[0] : undefined));
    if (found !== undefined) return found.descriptor;
    const names = images.flatMap((image) => image.names.slice(0, 1));
    const there =
      names.length === 0
        ? `it holds ${images.length} images without names`
        : `it holds ${names.slice(0, 5).join(", ")}`;
    const what = name ?? formatReference(reference);
    const hint = name === undefined && names[0] !== undefined ? `; write ${this.name}:${names[0]}` : "";
    throw new Failure(
      "NOT_FOUND",
      "MANIFEST_UNKNOWN",
      `failed to resolve image: ${what}: not found in ${this.#location.path}: ${there}${hint}`,
    );
  }

  async fetch(target: Descriptor, call?: CallOptions): Promise<Uint8Array> {
    if (target.size > FETCH_LIMIT)
      throw new Failure(
        "RESOURCE_EXHAUSTED",
        "TOO_LARGE",
        `${target.digest} has ${target.size} bytes; at most ${FETCH_LIMIT} are read at once`,
      );
    const pieces: Uint8Array[] = [];
    const { body } = await this.open(target, { start: 0, end: target.size }, call);
    for await (const piece of body) pieces.push(piece);
    const bytes = Buffer.concat(pieces);
    const actual = digestOf(bytes, algorithmOf(target.digest));
    if (actual === target.digest) return bytes;
    throw new Failure(
      "DATA_LOSS",
      "DIGEST_MISMATCH",
      `${this.name} holds wrong bytes for ${target.digest}: their digest is ${actual}`,
    );
  }

  async open(target: Descriptor, range: ByteRange, call?: CallOptions): Promise<OpenBlob> {
    const place = this.#catalog.locate(target.digest);
    if (place instanceof Uint8Array) return { start: range.start, body: once(place.subarray(range.start, range.end)) };
    const unknown = (): Failure =>
      new Failure("NOT_FOUND", "BLOB_UNKNOWN", `${this.name} has no blob ${target.digest}: not found`);
    if (place === undefined) throw unknown();
    const files = this.#files;
    {
      await using file = await files.open(place);
      if (file === undefined) throw unknown();
      const what = `${this.name} has ${file.size} bytes for ${target.digest}, which has ${target.size}`;
      if (file.size !== target.size) throw new Failure("DATA_LOSS", "SIZE_MISMATCH", what);
    }
    // Opened again by whoever reads it: a body that nobody reads holds no file open.
    const read = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
      await using file = await files.open(place);
      if (file === undefined) throw unknown();
      yield* file.read(range, call?.signal);
    };
    return { start: range.start, body: read() };
  }

  async *referrers(subject: Descriptor, call?: CallOptions): AsyncGenerator<Descriptor, void, undefined> {
    for (const { descriptor } of this.#catalog.images) {
      const manifest = parseManifest(await this.fetch(descriptor, call), descriptor.mediaType);
      if (manifest.kind === "manifest" && manifest.subject?.digest === subject.digest) yield descriptor;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#files[Symbol.asyncDispose]();
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield bytes;
}
