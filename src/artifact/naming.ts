import type { Descriptor, Digest } from "#oci";
import { namedPath } from "./file-path.ts";

/** A name for blobs that have none of their own. */
export interface Naming {
  /** The name of the first and only blob: `model.gguf`. */
  readonly name: string;
  /** Which blobs it is for. */
  readonly is: (blob: Descriptor) => boolean;
}

/**
 * Says what each blob of a manifest is called: by its own annotations, else by the first naming that is for it: `model.gguf` for the
 * only one of its sort, `model-00001-of-00003.gguf` for one of several, which is how model loaders expect the pieces of one model.
 * Undefined where no naming is for it.
 *
 * @throws Failure UNSAFE_PATH naming the digest.
 */
export function namer(
  blobs: readonly Descriptor[],
  namings: readonly Naming[],
): (blob: Descriptor) => string | undefined {
  const numbers = new Map<Naming, Map<Digest, number>>();
  for (const blob of blobs) {
    const naming = namedPath(blob) === undefined ? namings.find(({ is }) => is(blob)) : undefined;
    if (naming === undefined) continue;
    const alike = numbers.get(naming) ?? new Map<Digest, number>();
    numbers.set(naming, alike);
    if (!alike.has(blob.digest)) alike.set(blob.digest, alike.size + 1);
  }
  return (blob) => {
    const path = namedPath(blob);
    if (path !== undefined) return path;
    const naming = namings.find(({ is }) => is(blob));
    const alike = naming && numbers.get(naming);
    return alike && numbered(naming.name, alike.get(blob.digest) ?? 1, alike.size);
  };
}

function numbered(name: string, number: number, count: number): string {
  if (count === 1) return name;
  const dot = name.lastIndexOf(".");
  const stem = dot <= 0 ? name : name.slice(0, dot);
  const pad = (value: number): string => String(value).padStart(5, "0");
  return `${stem}-${pad(number)}-of-${pad(count)}${name.slice(stem.length)}`;
}
