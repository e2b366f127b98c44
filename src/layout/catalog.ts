import { Failure } from "#base";
import { MANIFEST_LIMIT, type Descriptor, type Digest } from "#oci";
import type { Files } from "./files.ts";

/** What a layout holds: the images that have a name or stand at its top, and where content lies. */
export interface Catalog {
  readonly images: readonly { readonly descriptor: Descriptor; readonly names: readonly string[] }[];
  /** A file's name, or the bytes themselves; undefined where it is not there. */
  locate(digest: Digest): string | Uint8Array | undefined;
}

/** A whole file as JSON. @throws Failure INVALID_LAYOUT where it is missing, too large or no JSON */
export async function readJson(files: Files, name: string, where: string): Promise<unknown> {
  await using file = await files.open(name);
  if (file === undefined) throw invalid(where, `it has no ${name}`);
  if (file.size > MANIFEST_LIMIT) throw invalid(where, `${name} has ${file.size} bytes`);
  const pieces: Uint8Array[] = [];
  for await (const piece of file.read({ start: 0, end: file.size })) pieces.push(piece);
  try {
    return JSON.parse(Buffer.concat(pieces).toString("utf8"));
  } catch (cause) {
    throw invalid(where, `${name} is not JSON`, cause);
  }
}

export function invalid(where: string, what: string, cause?: unknown): Failure {
  return new Failure("INVALID_ARGUMENT", "INVALID_LAYOUT", `${where} cannot be used: ${what}`, { cause });
}
