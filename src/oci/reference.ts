import { Failure } from "#base";
import { isDigest, type Digest } from "./digest.ts";

/** `registry/repository[:tag][@digest]`, whole: `busybox` is `docker.io/library/busybox:latest`. */
export interface Reference {
  /** Host and optional port, as written: `docker.io`, `127.0.0.1:5000`, `[::1]:5000`. */
  readonly registry: string;
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: Digest;
}

const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
/** What may be repeated in a message of one line. */
const PRINTABLE = /^[!-~]+$/;
const HOST =
  /^(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*)(?::[0-9]+)?$/;

/**
 * Reads a reference with the defaults of distribution/reference: `docker.io`, `library/`, `:latest`.
 *
 * @throws Failure INVALID_REFERENCE in the words that Kubernetes users know (`invalid reference format: …`).
 */
export function parseReference(text: string): Reference {
  const at = text.indexOf("@");
  const digest = at < 0 ? undefined : text.slice(at + 1);
  if (digest !== undefined && !isDigest(digest)) throw invalid(text, "invalid reference format");
  const named = at < 0 ? text : text.slice(0, at);

  const slash = named.indexOf("/");
  const first = slash < 0 ? "" : named.slice(0, slash);
  const hasHost = /[.:[]/.test(first) || first === "localhost" || first !== first.toLowerCase();
  const host = hasHost ? first : "docker.io";
  const registry = host === "index.docker.io" ? "docker.io" : host;
  const rest = hasHost ? named.slice(slash + 1) : named;

  const colon = rest.indexOf(":");
  const path = colon < 0 ? rest : rest.slice(0, colon);
  const tag = colon < 0 ? undefined : rest.slice(colon + 1);
  const repository = registry === "docker.io" && !path.includes("/") ? `library/${path}` : path;

  if (repository !== repository.toLowerCase() && HOST.test(registry) && PRINTABLE.test(repository))
    throw invalid(text, `invalid reference format: repository name (${repository}) must be lowercase`);
  if (!HOST.test(registry) || !repository.split("/").every((component) => COMPONENT.test(component)))
    throw invalid(text, "invalid reference format");
  if (tag !== undefined && !TAG.test(tag)) throw invalid(text, "invalid reference format");
  if (registry.length + 1 + repository.length > 255)
    throw invalid(text, "repository name must not be more than 255 characters");

  return {
    registry,
    repository,
    ...(tag === undefined && digest === undefined ? { tag: "latest" } : {}),
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  };
}

/** The whole reference as text; {@link parseReference} reads it back to the same value. */
export function formatReference(reference: Reference): string {
  const tag = reference.tag === undefined ? "" : `:${reference.tag}`;
  const digest = reference.digest === undefined ? "" : `@${reference.digest}`;
  return `${reference.registry}/${reference.repository}${tag}${digest}`;
}

/** The same repository, by digest alone. */
export function pin(reference: Reference, digest: Digest): Reference {
  return { registry: reference.registry, repository: reference.repository, digest };
}

function invalid(text: string, why: string): Failure {
  return new Failure(
    "INVALID_ARGUMENT",
    "INVALID_REFERENCE",
    `couldn't parse image name ${JSON.stringify(text)}: ${why}`,
  );
}
