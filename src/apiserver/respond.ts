import type { IncomingMessage, ServerResponse } from "node:http";
import { gzipSync } from "node:zlib";
import { formatYaml, type KubeObject } from "#k8s";
import type { Form } from "./accept.ts";
import type { ApiRequest } from "./router.ts";
import { apiVersionOf, type Column, type Resource } from "./kinds/resource.ts";
import type { Stored } from "./storage.ts";
import { statusOf } from "./status.ts";

const warned = new WeakMap<ServerResponse, string[]>();

/** A `Warning: 299` header for each line; kubectl shows them to its user. */
export function warn(response: ServerResponse, warnings: readonly string[]): void {
  if (warnings.length === 0) return;
  const all = [...(warned.get(response) ?? []), ...warnings];
  warned.set(response, all);
  const clean = (line: string): string =>
    line
      .replace(/[^\x20-\x7e]/g, " ")
      .replace(/(["\\])/g, "\\$1")
      .slice(0, 1024);
  response.setHeader(
    "Warning",
    [...new Set(all)].map((line) => `299 - "${clean(line)}"`),
  );
}

const GZIP_FROM = 128 * 1024;

/** JSON on one line, or indented for who asks with `pretty`, or reads it with curl, wget or a browser. */
function legible({ url = "", headers }: IncomingMessage, json: readonly string[]): readonly string[] {
  const asked = /[?&]pretty=([^&]*)/.exec(url)?.[1] ?? "";
  const pretty =
    asked === "" ? /^(curl|Wget|Mozilla\/5\.0)/.test(headers["user-agent"] ?? "") : /^(1|t|true)$/i.test(asked);
  return pretty ? [JSON.stringify(JSON.parse(json.join("")), undefined, 2)] : [...json, "\n"];
}

/**
 * Sends JSON text, or YAML where the form says so; large answers are compressed for those who take it. A long text comes in
 * parts, which are put together only once, as bytes.
 */
export function sendText(
  request: ApiRequest,
  response: ServerResponse,
  code: number,
  json: readonly string[],
  yaml = false,
): void {
  const parts = yaml ? [formatYaml(JSON.parse(json.join("")))] : legible(request.raw, json);
  response.setHeader("Content-Type", yaml ? "application/yaml" : "application/json");
  response.setHeader("Cache-Control", "no-cache, private");
  let body = encode(parts);
  if (body.length > GZIP_FROM && /\bgzip\b/.test(request.raw.headers["accept-encoding"] ?? "")) {
    body = gzipSync(body, { level: 1 });
    response.setHeader("Content-Encoding", "gzip");
    response.setHeader("Vary", "Accept-Encoding");
  }
  response.setHeader("Content-Length", body.length);
  response.writeHead(code);
  response.end(request.method === "HEAD" ? undefined : body);
}

function encode(parts: readonly string[]): Buffer {
  let size = 0;
  for (const part of parts) size += Buffer.byteLength(part);
  const bytes = Buffer.allocUnsafe(size);
  let at = 0;
  for (const part of parts) at += bytes.write(part, at);
  return bytes;
}

export function sendJson(request: ApiRequest, response: ServerResponse, code: number, value: unknown): void {
  sendText(request, response, code, [JSON.stringify(value)]);
}

export function sendPlain(response: ServerResponse, code: number, text: string): void {
  response.writeHead(code, {
    "Content-Type": "text/plain; charset=utf-8",
    "X-Content-Type-Options": "nosniff",
    "Content-Length": Buffer.byteLength(text),
  });
  response.end(text);
}

/** Answers an error as a Status, or cuts the connection when the answer has begun. */
export function sendError(response: ServerResponse, error: unknown): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const body = statusOf(error);
  const retry = body.details?.retryAfterSeconds;
  const text = legible(response.req, [JSON.stringify(body)]).join("");
  response.removeHeader("Content-Encoding");
  if (retry !== undefined) response.setHeader("Retry-After", retry);
  response.writeHead(body.code, {
    "Content-Type": "application/json",
    "Cache-Control": "no-cache, private",
    "Content-Length": Buffer.byteLength(text),
  });
  response.end(text);
}

/** An object in the version its resource has, as JSON. */
export function objectJson(resource: Resource, stored: Stored): string {
  if (resource.fromStored === undefined) return withKind(resource, stored.json);
  return withKind(resource, JSON.stringify(bare(resource.fromStored(stored.object))));
}

/** The same without kind and version, as the items of a list are. */
function itemJson(resource: Resource, stored: Stored): string {
  return resource.fromStored === undefined ? stored.json : JSON.stringify(bare(resource.fromStored(stored.object)));
}

function bare(object: KubeObject): object {
  const { kind: _kind, apiVersion: _apiVersion, ...rest } = object;
  return rest;
}

const withKind = (resource: Resource, json: string): string =>
  `{"kind":"${resource.kind}","apiVersion":"${apiVersionOf(resource)}",${json.slice(1)}`;

const partial = (version: string, object: KubeObject): object => ({
  kind: "PartialObjectMetadata",
  apiVersion: `meta.k8s.io/${version}`,
  metadata: object.metadata,
});

const definition = ({ name, type, format = "", description, priority = 0 }: Column): object => ({
  name,
  type,
  format,
  description,
  priority,
});

/** What a table's rows carry: `includeObject` of the query. */
export function includeOf(query: URLSearchParams): string {
  return query.get("includeObject") || "Metadata";
}

/** Objects as a table. `first` says whether the columns are named (a watch names them once). */
export function tableJson(
  resource: Resource,
  items: readonly Stored[],
  version: string,
  include: string,
  metadata: object,
  first = true,
): string {
  const now = new Date();
  return JSON.stringify({
    kind: "Table",
    apiVersion: `meta.k8s.io/${version}`,
    metadata,
    columnDefinitions: first ? resource.columns.map(definition) : null,
    rows: items.map((stored) => ({
      cells: resource.cells(stored.object, now),
      object:
        include === "None"
          ? undefined
          : include === "Object"
            ? (JSON.parse(objectJson(resource, stored)) as object)
            : partial(version, stored.object),
    })),
  });
}

/** One object in the form a client asked for. */
export function formJson(resource: Resource, stored: Stored, form: Form, query: URLSearchParams): string {
  if (form.as === "Table") {
    const { resourceVersion } = stored.object.metadata ?? {};
    return tableJson(resource, [stored], form.version, includeOf(query), { resourceVersion });
  }
  if (form.as === "object") return objectJson(resource, stored);
  return JSON.stringify(partial(form.version, stored.object));
}

/** A list in the form a client asked for, in parts. */
export function listJson(
  resource: Resource,
  items: readonly Stored[],
  form: Form,
  query: URLSearchParams,
  metadata: object,
): string[] {
  if (form.as === "Table") return [tableJson(resource, items, form.version, includeOf(query), metadata)];
  const whole = form.as === "object";
  const kind = whole ? `${resource.kind}List` : "PartialObjectMetadataList";
  const version = whole ? apiVersionOf(resource) : `meta.k8s.io/${form.version}`;
  const head = `{"kind":"${kind}","apiVersion":"${version}","metadata":${JSON.stringify(metadata)},"items":[`;
  const parts = items.flatMap((stored) => [
    ",",
    whole ? itemJson(resource, stored) : JSON.stringify(partial(form.version, stored.object)),
  ]);
  return [head, ...parts.slice(1), "]}"];
}
