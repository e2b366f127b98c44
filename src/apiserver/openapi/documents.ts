import { createHash } from "node:crypto";
import { encodeOpenApiV2, type OpenApiV2Document } from "#wire";
import { definitionsOf } from "./definitions.ts";
import { groupPath, pathsOf, type ServedResource } from "./paths.ts";

/** What clients ask to learn the API: the two forms of it, made once when first asked for. */
export interface OpenApiDocuments {
  /** OpenAPI 2, all of it. */
  v2(): Rendered;
  /** The same as protocol buffers. */
  v2Protobuf(): Rendered;
  /** The list of OpenAPI 3 documents. */
  index(): Rendered;
  /** One of them, by what follows `/openapi/v3/` (`api/v1`, `apis/apps/v1`); undefined for no such group version. */
  v3(path: string): Rendered | undefined;
}

export interface Rendered {
  readonly bytes: Uint8Array;
  /** Changes with the bytes. */
  readonly hash: string;
}

/** The documents of a server of this version (`v1.36.2`) with these resources. */
export function openApiDocuments(resources: readonly ServedResource[], version: string): OpenApiDocuments {
  const info = { title: "Kubernetes", version };
  const kinds = resources.flatMap((one) => [one, ...(one.subresources ?? [])]);
  const json = (value: unknown): Rendered => render(Buffer.from(JSON.stringify(value)));
  const document = once((): OpenApiV2Document => ({
    swagger: "2.0",
    info,
    paths: pathsOf(resources, 2),
    definitions: definitionsOf(kinds, 2) as OpenApiV2Document["definitions"],
  }));
  const groups = [...new Set(resources.map((one) => groupPath(one).slice(1)))];
  const versions = new Map(
    groups.map((path) => [
      path,
      once(() => {
        const own = resources.filter((one) => groupPath(one).slice(1) === path);
        const schemas = definitionsOf(
          own.flatMap((one) => [one, ...(one.subresources ?? [])]),
          3,
        );
        return json({ openapi: "3.0.0", info, paths: pathsOf(own, 3), components: { schemas } });
      }),
    ]),
  );
  return {
    v2: once(() => json(document())),
    v2Protobuf: once(() => render(encodeOpenApiV2(document()))),
    index: once(() =>
      json({
        paths: Object.fromEntries(
          [...versions].map(([path, make]) => [path, { serverRelativeURL: `/openapi/v3/${path}?hash=${make().hash}` }]),
        ),
      }),
    ),
    v3: (path) => versions.get(path)?.(),
  };
}

function render(bytes: Uint8Array): Rendered {
  return { bytes, hash: createHash("sha512").update(bytes).digest("hex").slice(0, 64).toUpperCase() };
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}
