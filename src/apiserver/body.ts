import { decode, goSyntaxError, goTypeError, goYamlDuplicates, goYamlError, isRecord, parseYaml } from "#k8s";
import { messageOf } from "#base";
import { decodeKubeProtobuf, KUBE_PROTOBUF } from "#wire";
import type { ApiRequest } from "./router.ts";
import { apiVersionOf, type AnyObject, type Resource } from "./kinds/resource.ts";
import { isRegistered } from "./registered-kinds.ts";
import { StatusError, badRequest } from "./status.ts";
import { strictProblems } from "./strict.ts";

const ACCEPTED = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/** The media type of a request's body, without parameters; JSON where it says nothing. */
export function mediaTypeOf(request: ApiRequest): string {
  const header = request.raw.headers["content-type"] ?? "";
  return (header.split(";")[0] ?? "").trim().toLowerCase() || "application/json";
}

/** The value of a body in JSON, YAML or Kubernetes' protobuf; `undefined` for an empty one. `of` is what was expected. */
export async function readBody(request: ApiRequest, of: { readonly kind: string }): Promise<unknown> {
  const type = mediaTypeOf(request);
  const bytes = await request.body();
  if (bytes.length === 0 && (type === KUBE_PROTOBUF || type === JSON_TYPE || type === YAML_TYPE)) return undefined;
  const text = bytes.toString("utf8");
  switch (type) {
    case JSON_TYPE:
      return attempt(
        text,
        of.kind,
        () => JSON.parse(text) as unknown,
        () => NO_KIND + goSyntaxError(text),
      );
    case YAML_TYPE:
      return attempt(
        text,
        of.kind,
        () => parseYaml(text),
        () => goYamlError(text),
      );
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

const JSON_TYPE = "application/json";
const YAML_TYPE = "application/yaml";
const NO_KIND = "couldn't get version/kind; json parse error: ";

function attempt(text: string, kind: string, parse: () => unknown, why: () => string): unknown {
  try {
    return parse();
  } catch {
    throw unrecognized(kind, why(), text);
  }
}

/** What has no kind that could be read. A body that is no JSON object is shown as what its bytes are. */
function unrecognized(kind: string, why: string, text: string): StatusError {
  const isObject = text.startsWith("{");
  const bytes = Buffer.from(text);
  const shown = isObject ? bytes.subarray(0, SHOWN).toString("utf8") : bytes.subarray(0, SHOWN).toString("hex");
  const summary = text === "" ? "<empty>" : bytes.length > SHOWN ? `${shown} ...` : shown;
  return badRequest(`the object provided is unrecognized (must be of type ${kind}): ${why} (${summary})`);
}

const SHOWN = 30;

function unsupportedBody(): StatusError {
  return new StatusError(
    415,
    "UnsupportedMediaType",
    `the body of the request was in an unknown format - accepted media types include: ${ACCEPTED}`,
  );
}

/** What strict decoding finds in the body of a request; undefined where the body does not tell. */
export async function strictProblemsIn(
  request: ApiRequest,
  resource: Pick<Resource, "type">,
  validation: Validation,
): Promise<string[] | undefined> {
  if (validation === "Ignore") return [];
  const text = (await request.body()).toString("utf8");
  switch (mediaTypeOf(request)) {
    case JSON_TYPE:
      return strictProblems(text, resource.type);
    case YAML_TYPE:
      return [...goYamlDuplicates(text), ...strictProblems(JSON.stringify(byName(parseYaml(text))), resource.type)];
    default:
      return undefined;
  }
}

/** YAML becomes JSON with its members in the order of their names. */
function byName(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(byName);
  if (!isRecord(value)) return value;
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(members.map(([key, member]) => [key, byName(member)]));
}

/** What becomes of fields that a type does not have, and of members given twice. */
export type Validation = "Ignore" | "Warn" | "Strict";

export interface Decoded {
  readonly object: AnyObject;
  readonly warnings: readonly string[];
}

/**
 * An object as its resource has it, with what the client should be told about odd fields: `problems`, where the body told of
 * some, else those that are unknown.
 */
export function decodeAs(
  resource: Pick<Resource, "group" | "version" | "kind" | "type">,
  value: unknown,
  validation: Validation,
  problems?: readonly string[],
): Decoded {
  const given = checkKind(resource, value);
  const decoded = guard(resource, () => decode(given, resource.type));
  const odd = problems ?? decoded.unknown.map((path) => `unknown field "${path}"`);
  if (validation === "Strict" && odd.length > 0)
    throw cannotHandle(resource, `strict decoding error: ${odd.join(", ")}`);
  const object = decoded.value as AnyObject;
  object.metadata ??= {};
  return { object, warnings: validation === "Warn" ? odd : [] };
}

/** Where upstream keeps the kinds it knows, as its errors say. */
const SCHEME = "pkg/api/legacyscheme/scheme.go:30";

/** The members of a body that says it is of the resource's kind, or says nothing of that. */
function checkKind(
  resource: Pick<Resource, "group" | "version" | "kind">,
  value: unknown,
): Readonly<Record<string, unknown>> {
  const text = (): string => (value === undefined ? "" : JSON.stringify(value));
  if (value === undefined) throw unrecognized(resource.kind, `${NO_KIND}unexpected end of JSON input`, "");
  if (value === null) return {};
  if (!isRecord(value))
    throw unrecognized(resource.kind, `${NO_KIND}${goTypeError(value, `value of type ${META}`)}`, text());
  const named = (field: "apiVersion" | "kind"): string => {
    const given = value[field] ?? "";
    if (typeof given === "string") return given;
    throw unrecognized(
      resource.kind,
      `${NO_KIND}${goTypeError(given, `struct field .${field} of type string`)}`,
      text(),
    );
  };
  const version = named("apiVersion") || apiVersionOf(resource);
  const kind = named("kind") || resource.kind;
  if (version === apiVersionOf(resource) && kind === resource.kind) return value;
  if (version.split("/").length > 2)
    throw unrecognized(resource.kind, `unexpected GroupVersion string: ${version}`, text());
  const short = version.replace(/^.*\//, "");
  const home = resource.group === "" ? "core" : resource.group.split(".")[0];
  const why = isRegistered(version, kind)
    ? `converting (${short}.${kind}) to (${home}.${resource.kind}): unknown conversion`
    : `no kind ${JSON.stringify(kind)} is registered for version ${JSON.stringify(version)} in scheme "${SCHEME}"`;
  throw badRequest(`${kind} in version "${short}" cannot be handled as a ${resource.kind}: ${why}`);
}

/** The type that upstream reads version and kind with. */
const META = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }';

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
