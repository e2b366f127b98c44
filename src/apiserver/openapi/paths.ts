import { definitionName, groupVersionKind, refTo, type Dialect, type Schema, type ServedKind } from "./definitions.ts";

/** One resource, and what can be done with it. */
export interface ServedResource extends ServedKind {
  /** The plural, as paths have it. */
  readonly resource: string;
  readonly namespaced: boolean;
  readonly subresources?: readonly ServedSubresource[];
}

export interface ServedSubresource extends ServedKind {
  /** `status`, `log`. */
  readonly name: string;
}

type Json = Readonly<Record<string, unknown>>;
interface Parameter {
  readonly name: string;
  readonly in: "query" | "path";
  readonly type: string;
  readonly description: string;
}
type Where = "all" | "collection" | "item";
interface Doing {
  readonly verb: string;
  readonly method: string;
  readonly action: string;
  readonly where: Where;
}

const METHODS: readonly Doing[] = [
  { verb: "list", method: "get", action: "list", where: "all" },
  { verb: "list", method: "get", action: "list", where: "collection" },
  { verb: "create", method: "post", action: "post", where: "collection" },
  { verb: "deletecollection", method: "delete", action: "deletecollection", where: "collection" },
  { verb: "get", method: "get", action: "get", where: "item" },
  { verb: "update", method: "put", action: "put", where: "item" },
  { verb: "patch", method: "patch", action: "patch", where: "item" },
  { verb: "delete", method: "delete", action: "delete", where: "item" },
];
const PATCHES = ["json-patch+json", "merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml"].map(
  (type) => `application/${type}`,
);
const MIMES = ["application/json", "application/yaml"];

const query = (name: string, type: string, description: string): Parameter => ({
  name,
  in: "query",
  type,
  description,
});
const WRITES: readonly Parameter[] = [
  query("dryRun", "string", "All: go through every stage of the request, and keep nothing."),
  query("fieldManager", "string", "Who makes the change, for the record of who set which field."),
  query("fieldValidation", "string", "What to do with unknown or repeated fields: Ignore, Warn or Strict."),
];
const FORCE = query("force", "boolean", "Take fields over from other managers; for apply patches only.");
const LISTS: readonly Parameter[] = [
  query("continue", "string", "Where the list before this one stopped."),
  query("fieldSelector", "string", "Only objects with these values of fields."),
  query("labelSelector", "string", "Only objects with these labels."),
  query("limit", "integer", "At most so many objects."),
  query("resourceVersion", "string", "How old the answer may be."),
  query("resourceVersionMatch", "string", "How resourceVersion is meant."),
  query("sendInitialEvents", "boolean", "Begin a watch with what there is."),
  query("timeoutSeconds", "integer", "When to end the request."),
  query("watch", "boolean", "Tell of changes instead of listing."),
];
const DELETES: readonly Parameter[] = [
  query("dryRun", "string", "All: go through every stage of the request, and keep nothing."),
  query("gracePeriodSeconds", "integer", "How long the object may take to end; 0 is at once."),
  query("propagationPolicy", "string", "What becomes of dependents: Orphan, Background or Foreground."),
];
const PARAMETERS: Readonly<Record<string, readonly Parameter[]>> = {
  list: LISTS,
  post: WRITES,
  put: WRITES,
  patch: [...WRITES, FORCE],
  delete: DELETES,
  deletecollection: [...DELETES, ...LISTS],
};

const CONTAINER = query("container", "string", "Which container; the first, or the annotated one, by default.");
const STREAMS: readonly Parameter[] = [
  CONTAINER,
  query("stderr", "boolean", "Send standard error."),
  query("stdin", "boolean", "Take standard input."),
  query("stdout", "boolean", "Send standard output."),
  query("tty", "boolean", "Give the process a terminal."),
];
const COMMAND = query("command", "string", "What to run, a word at a time, without a shell.");
/** What parts of a Pod that are no objects take, by their name. */
const CONNECTIONS: Readonly<Record<string, readonly Parameter[]>> = {
  attach: STREAMS,
  exec: [COMMAND, ...STREAMS],
  portforward: [query("ports", "integer", "Which ports; needed where WebSockets are used.")],
};
const LOGS: readonly Parameter[] = [
  CONTAINER,
  query("follow", "boolean", "Go on as more is written."),
  query("insecureSkipTLSVerifyBackend", "boolean", "Take the kubelet's certificate unseen."),
  query("limitBytes", "integer", "At most so many bytes."),
  query("pretty", "string", "Pretty-print what is no log."),
  query("previous", "boolean", "Of the container that ended before this one."),
  query("sinceSeconds", "integer", "Not older than so many seconds."),
  query("stream", "string", "All, Stdout or Stderr."),
  query("tailLines", "integer", "The last so many lines."),
  query("timestamps", "boolean", "Begin each line with its time."),
];

/** `/api/v1` or `/apis/GROUP/VERSION`. */
export function groupPath({ group, version }: { readonly group: string; readonly version: string }): string {
  return group === "" ? `/api/${version}` : `/apis/${group}/${version}`;
}

/** The paths of these resources, with what may be done at each. */
export function pathsOf(resources: readonly ServedResource[], dialect: Dialect): Record<string, Json> {
  const paths: Record<string, Json> = {};
  type Describe = (doing: Doing) => Json;
  const add = (path: string, kind: ServedKind, found: readonly Doing[], id: string, describe?: Describe): void => {
    if (found.length === 0) return;
    const names = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? "");
    const of = describe ?? ((doing: Doing): Json => operation(kind, doing, id, dialect));
    paths[path] = {
      ...Object.fromEntries(found.map((doing) => [doing.method, of(doing)])),
      parameters: names.map((name) =>
        parameter({ name, in: "path", type: "string", description: `The ${name} of the object.` }, dialect),
      ),
    };
  };
  for (const one of resources) {
    const scope = one.namespaced ? "/namespaces/{namespace}" : "";
    const collection = `${groupPath(one)}${scope}/${one.resource}`;
    const at = (where: Where): Doing[] => METHODS.filter((m) => m.where === where && one.verbs.includes(m.verb));
    const scoped = one.namespaced ? "Namespaced" : "";
    add(collection, one, at("collection"), scoped + one.kind);
    add(`${collection}/{name}`, one, at("item"), scoped + one.kind);
    if (one.namespaced) add(`${groupPath(one)}/${one.resource}`, one, at("all"), `${one.kind}ForAllNamespaces`);
    for (const sub of one.subresources ?? []) {
      const found = METHODS.filter(
        (m) => sub.verbs.includes(m.verb) && (m.where === "item" || (m.where === "collection" && m.verb === "create")),
      );
      const suffix = sub.name.charAt(0).toUpperCase() + sub.name.slice(1);
      const id = scoped + one.kind + suffix;
      const special = sub.name === "log" || sub.name in CONNECTIONS;
      const describe = special ? (doing: Doing): Json => connection(sub, doing, id, dialect) : undefined;
      add(`${collection}/{name}/${sub.name}`, sub, found, id, describe);
    }
  }
  return paths;
}

function operation(kind: ServedKind, { method, action }: Doing, id: string, dialect: Dialect): Json {
  const name = definitionName(kind.type);
  const meta = (of: string): Schema => refTo(`io.k8s.apimachinery.pkg.apis.meta.v1.${of}`, dialect);
  const own: Schema = kind.type === "" ? { type: "object" } : refTo(name, dialect);
  const result = action === "list" ? refTo(`${name}List`, dialect) : method === "delete" ? meta("Status") : own;
  const takes: Record<string, Schema> = { post: own, put: own, patch: meta("Patch"), delete: meta("DeleteOptions") };
  const body = takes[method];
  const mimes = method === "patch" ? PATCHES : MIMES;
  const parameters: unknown[] = (PARAMETERS[action] ?? []).map((one) => parameter(one, dialect));
  const required = method !== "delete";
  const word = { post: "create", put: "replace", get: "read", deletecollection: "deleteCollection" }[action] ?? action;
  const content = (types: readonly string[], schema: Schema): Json =>
    Object.fromEntries(types.map((type) => [type, { schema }]));
  const extensions = { "x-kubernetes-action": action, "x-kubernetes-group-version-kind": groupVersionKind(kind) };
  const operationId = word + groupWord(kind) + id;
  const answer = { description: "OK" };
  if (dialect === 3)
    return {
      operationId,
      parameters,
      ...(body === undefined ? {} : { requestBody: { content: content(mimes, body), required } }),
      responses: { "200": { ...answer, content: content(MIMES, result) } },
      ...extensions,
    };
  return {
    operationId,
    consumes: body === undefined ? ["*/*"] : mimes,
    produces: MIMES,
    parameters: body === undefined ? parameters : [{ name: "body", in: "body", required, schema: body }, ...parameters],
    responses: { "200": { ...answer, schema: result } },
    ...extensions,
  };
}

/** A log, or a connection: what goes through it is text, and no object. */
function connection(sub: ServedSubresource, { method, action }: Doing, id: string, dialect: Dialect): Json {
  const isLog = sub.name === "log";
  const parameters = (isLog ? LOGS : (CONNECTIONS[sub.name] ?? [])).map((one) => parameter(one, dialect));
  const text: Schema = { type: "string" };
  const mimes = isLog ? ["text/plain", ...MIMES] : ["*/*"];
  const content = Object.fromEntries(mimes.map((type) => [type, { schema: text }]));
  const word = method === "get" ? "Get" : "Post";
  return {
    operationId: isLog ? `read${groupWord(sub)}${id}` : `connect${groupWord(sub)}${word}${id}`,
    ...(dialect === 3 ? {} : { consumes: ["*/*"], produces: mimes }),
    parameters,
    responses: { "200": { description: "OK", ...(dialect === 3 ? { content } : { schema: text }) } },
    "x-kubernetes-action": isLog ? action : "connect",
    "x-kubernetes-group-version-kind": groupVersionKind(sub),
  };
}

function groupWord({ group, version }: ServedKind): string {
  const cap = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
  return cap(group === "" ? "core" : (group.split(".")[0] ?? "")) + cap(version);
}

function parameter({ type, ...rest }: Parameter, dialect: Dialect): Json {
  const required = rest.in === "path" ? { required: true } : {};
  return dialect === 3
    ? { ...rest, ...required, schema: { type, uniqueItems: true } }
    : { ...rest, ...required, type, uniqueItems: true };
}
