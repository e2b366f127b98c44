import { posix } from "node:path";
import { Failure } from "#base";
import { formatReference, parseReference } from "#oci";

/** An image in files, as skopeo and podman write it: `oci:/dir:tag`, `oci-archive:/file.tar:tag`, `docker-archive:/file.tar:name:tag`. */
export interface Location {
  readonly kind: "oci" | "oci-archive" | "docker-archive";
  readonly path: string;
  /** Which image, where there are several. */
  readonly name?: string;
}

const LOCATION = /^(oci|oci-archive|docker-archive):([^:]*)(?::(.*))?$/s;

/**
 * Undefined for what is no such location but perhaps a reference: a reference never begins with these words and a colon
 * before a path.
 *
 * @throws Failure INVALID_REFERENCE where the path is missing
 */
export function parseLocation(text: string): Location | undefined {
  const [, kind, path = "", name] = LOCATION.exec(text) ?? [];
  if (kind === undefined || (path !== "" && !/[/.]/.test(path))) return undefined;
  if (path === "")
    throw new Failure(
      "INVALID_ARGUMENT",
      "INVALID_REFERENCE",
      `${JSON.stringify(text)} names no path: write ${kind}:/path[:name]`,
    );
  return { kind: kind as Location["kind"], path, ...(name === undefined || name === "" ? {} : { name }) };
}

/**
 * The reference under which an image of a location is kept where nobody says otherwise: the name that it has there, or
 * `localhost/<file or directory>:<name>`, as podman does. Undefined for what is no location.
 */
export function referenceOf(text: string): string | undefined {
  const location = parseLocation(text);
  if (location === undefined) return undefined;
  const { path, name } = location;
  if (name !== undefined && /[/:]/.test(name)) return formatReference(parseReference(name));
  const base = posix
    .basename(posix.resolve(path))
    .toLowerCase()
    .replace(/\.tar$/, "")
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "");
  return formatReference(parseReference(`localhost/${base === "" ? "image" : base}:${name ?? "latest"}`));
}

export function formatLocation({ kind, path, name }: Location): string {
  return `${kind}:${path}${name === undefined ? "" : `:${name}`}`;
}
