import type { ServerResponse } from "node:http";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { ApiRequest, Route } from "../router.ts";
import { StatusError, unknownResource } from "../status.ts";
import { openApiDocuments, type Rendered } from "./documents.ts";
import type { ServedResource } from "./paths.ts";

/** Clients ask for `spec.v2@v1.0`, which is no valid media type: Go refuses to parse it in an answer. */
const PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const IS_PROTOBUF = /^application\/com\.github\.(?:proto-openapi|googleapis\.gnostic)\.(?:spec\.v2|OpenAPIv2)[@.]/i;
const IS_JSON = /^(?:application\/(?:json|\*)|\*\/\*)$/i;

/** `/openapi/v2` and `/openapi/v3`, for a server of this version (`v1.36.2`) with these resources. */
export function openApiRoutes(resources: readonly ServedResource[], version: string): Route[] {
  const documents = openApiDocuments(resources, version);
  const zipped = new Map<string, Promise<Buffer>>();

  const send = async (request: ApiRequest, response: ServerResponse, one: Rendered, type: string): Promise<void> => {
    const etag = `"${one.hash}"`;
    response.setHeader("ETag", etag);
    response.setHeader("Vary", "Accept, Accept-Encoding");
    if (!response.hasHeader("Cache-Control")) response.setHeader("Cache-Control", "no-cache, private");
    if (request.raw.headers["if-none-match"]?.includes(etag)) {
      response.writeHead(304).end();
      return;
    }
    let body: Uint8Array = one.bytes;
    response.setHeader("Content-Type", type);
    if (/\bgzip\b/.test(request.raw.headers["accept-encoding"] ?? "")) {
      let made = zipped.get(one.hash);
      if (made === undefined) zipped.set(one.hash, (made = promisify(gzip)(one.bytes)));
      body = await made;
      response.setHeader("Content-Encoding", "gzip");
    }
    response.setHeader("Content-Length", body.byteLength);
    response.writeHead(200).end(request.method === "HEAD" ? undefined : body);
  };

  return [
    {
      methods: ["GET"],
      path: "/openapi/v2",
      handle: (request, response) => {
        const accepted = accepts(request);
        const protobuf = accepted.findIndex((type) => IS_PROTOBUF.test(type));
        const json = accepted.findIndex((type) => IS_JSON.test(type));
        if (protobuf < 0 && json < 0 && accepted.length > 0)
          throw new StatusError(406, "NotAcceptable", `only application/json and ${PROTOBUF} are served here`);
        return protobuf >= 0 && (json < 0 || protobuf < json)
          ? send(request, response, documents.v2Protobuf(), PROTOBUF)
          : send(request, response, documents.v2(), "application/json");
      },
    },
    {
      methods: ["GET"],
      path: "/openapi/v3",
      handle: (request, response) => send(request, response, documents.index(), "application/json"),
    },
    {
      methods: ["GET"],
      path: "/openapi/v3/{path*}",
      handle: async (request, response) => {
        const path = request.params["path"] ?? "";
        const found = documents.v3(path);
        if (found === undefined) throw unknownResource();
        const asked = request.query.get("hash");
        if (asked !== null && asked !== found.hash) {
          response.writeHead(301, { Location: `/openapi/v3/${path}?hash=${found.hash}` }).end();
          return;
        }
        if (asked !== null) response.setHeader("Cache-Control", "public, immutable");
        await send(request, response, found, "application/json");
      },
    },
  ];
}

/** The media types of the Accept header, in their order, without parameters. */
function accepts(request: ApiRequest): string[] {
  const header = request.raw.headers.accept ?? "";
  return header
    .split(",")
    .map((one) => one.split(";")[0]?.trim() ?? "")
    .filter((one) => one !== "");
}
