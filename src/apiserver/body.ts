import { decode, isRecord, parseYaml, type KubeObject } from "#k8s";
import { messageOf } from "#base";
import { decodeKubeProtobuf, KUBE_PROTOBUF } from "#wire";
import { duplicateFields } from "./duplicates.ts";
import type { ApiRequest } from "./router.ts";
import { apiVersionOf, type AnyObject, type Resource } from "./kinds/resource.ts";
import { StatusError, badRequest } from "./status.ts";

export const ACCEPTED = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/** The media type of a request's body, without parameters; JSON where it says nothing. */
export function mediaTypeOf(request: ApiRequest): string {
  const header = request.raw.headers["content-type"] ?? "";
  return (header.split(";")[0] ?? "").trim().toLowerCase() || "application/json";
}

/** The value of a body in JSON, YAML or Kubernetes' protobuf; `undefined` for an empty one. `of` is what was expected. */
export async function readBody(request: ApiRequest, of: { readonly kind: string }): Promise<unknown> {
  const type = mediaTypeOf(request);
  const bytes = await request.body();
  if (bytes.length === 0 && (type === KUBE_PROTOBUF || type === "application/json" || type === "application/yaml"))
    return undefined;
  switch (type) {
    case "application/json":
      return parseJson(bytes.toString("utf8"), of.kind);
    case "application/yaml":
      return parseYamlBody(bytes.toString("utf8"));
    case KUBE_PROTOBUF:
      try {
        return decodeKubeProtobuf(bytes);
      } catch (cause) {
        throw badRequest(messageOf(cause));
      }
    default:
      throw unsupportedBody();
  }
}

export function unsupportedBody(): StatusError {
  return new StatusError(
    415,
    "UnsupportedMediaType",
    `the body of the request was in an unknown format - accepted media types include: ${ACCEPTED}`,
  );
}

export function parseYamlBody(text: string): unknown {
  try {
    return parseYaml(text);
  } catch (cause) {
    throw badRequest(`error converting YAML to JSON: yaml: ${messageOf(cause)}`);
  }
}

/** Parses JSON; the error says what Go's decoder would, as far as that can be told. */
export function parseJson(text: string, kind: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    const shown = text.length > 30 ? `${text.slice(0, 30)} ...` : text;
    const why = `couldn't get version/kind; json parse error: ${goSyntaxError(messageOf(cause), text)}`;
    throw badRequest(`the object provided is unrecognized (must be of type ${kind}): ${why} (${shown})`);
  }
}

const SYNTAX: readonly [RegExp, string][] = [
  [/^Expected property name|^Expected double-quoted property name/, "looking for beginning of object key string"],
  [/^Expected ',' or '}'/, "after object key:value pair"],
  [/^Expected ',' or ']'/, "after array element"],
  [/^Expected ':'/, "after object key"],
  [/^Unexpected non-whitespace/, "after top-level value"],
];

/** What Go says of a text that is no JSON, from what V8 says of it. */
export function goSyntaxError(message: string, text: string): string {
  const position = /at position (\d+)/.exec(message)?.[1];
  const token = /^Unexpected token '(.)'/u.exec(message)?.[1];
  const char = token ?? (position === undefined ? "" : text.charAt(Number(position)));
  if (char === "" || /^Unexpected end|^Unterminated/.test(message)) return "unexpected end of JSON input";
  const where = SYNTAX.find(([pattern]) => pattern.test(message))?.[1] ?? "looking for beginning of value";
  return `invalid character '${char}' ${where}`;
}

/** The members that a JSON body names twice. */
export async function duplicatesIn(request: ApiRequest, validation: Validation): Promise<string[]> {
  if (validation === "Ignore" || mediaTypeOf(request) !== "application/json") return [];
  return duplicateFields((await request.body()).toString("utf8"));
}

/** What becomes of fields that a type does not have, and of members given twice. */
export type Validation = "Ignore" | "Warn" | "Strict";

/** An object as its resource has it, with what the client should be told about unknown fields. */
export function decodeAs(
  resource: Pick<Resource, "group" | "version" | "kind" | "type">,
  value: unknown,
  validation: Validation,
  duplicates: readonly string[] = [],
): { object: AnyObject; warnings: string[] } {
  if (!isRecord(value)) throw badRequest(`the object provided is unrecognized (must be of type ${resource.kind})`);
  const given = value as KubeObject;
  const apiVersion = apiVersionOf(resource);
  const wrongKind = given.kind !== undefined && given.kind !== "" && given.kind !== resource.kind;
  const wrongVersion = given.apiVersion !== undefined && given.apiVersion !== "" && given.apiVersion !== apiVersion;
  if (wrongKind || wrongVersion) {
    const version = given.apiVersion || apiVersion;
    const kind = given.kind || resource.kind;
    const short = version.replace(/^.*\//, "");
    throw badRequest(
      wrongVersion && !wrongKind
        ? `the API version in the data (${version}) does not match the expected API version (${apiVersion})`
        : `${kind} in version "${short}" cannot be handled as a ${resource.kind}: converting (${short}.${kind}) to (${resource.group === "" ? "core" : resource.group.split(".")[0]}.${resource.kind}): unknown conversion`,
    );
  }
  const decoded = guard(resource, () => decode(value, resource.type));
  const problems = [
    ...decoded.unknown.map((path) => `unknown field "${path}"`),
    ...duplicates.map((path) => `duplicate field "${path}"`),
  ];
  if (validation === "Strict" && problems.length > 0)
    throw cannotHandle(resource, `strict decoding error: ${problems.join(", ")}`);
  const object = decoded.value as AnyObject;
  object.metadata ??= {};
  return { object, warnings: validation === "Warn" ? problems : [] };
}

export function cannotHandle(resource: { version: string; kind: string }, why: string): StatusError {
  return badRequest(
    `${resource.kind} in version "${resource.version}" cannot be handled as a ${resource.kind}: ${why}`,
  );
}

function guard<T>(resource: { version: string; kind: string }, run: () => T): T {
  try {
    return run();
  } catch (cause) {
    throw cannotHandle(resource, messageOf(cause));
  }
}
