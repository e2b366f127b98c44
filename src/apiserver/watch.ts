import type { ServerResponse } from "node:http";
import type { KubeObject } from "#k8s";
import { apiVersionOf, type Resource } from "./kinds/resource.ts";
import { includeOf, objectJson, tableJson, type Form } from "./respond.ts";
import type { ApiRequest } from "./router.ts";
import type { Selector } from "./select.ts";
import { StatusError, badRequest, expired } from "./status.ts";
import type { Change, Storage, Stored } from "./storage.ts";

const BOOKMARK_EVERY = 60_000;
/** A watcher that lets so many bytes lie is cut off; it lists again. */
const MOST_UNREAD = 32 * 1024 * 1024;
const DEFAULT_SECONDS = 3600;

/**
 * Streams the changes of a resource: each once, in order, from the version asked for. Ends when the client goes, the server
 * closes, or after `timeoutSeconds`.
 */
export async function watch(
  request: ApiRequest,
  response: ServerResponse,
  storage: Storage,
  resource: Resource,
  namespace: string,
  select: Selector | undefined,
  form: Form,
): Promise<void> {
  const { query } = request;
  const asked = query.get("resourceVersion") ?? "";
  if (!/^\d*$/.test(asked)) throw badRequest(`invalid resource version: ${JSON.stringify(asked)}`);
  const bookmarks = /^(1|true)$/i.test(query.get("allowWatchBookmarks") ?? "");
  const initial = /^(1|true)$/i.test(query.get("sendInitialEvents") ?? "");
  checkInitial(query);
  const seconds = Number(query.get("timeoutSeconds") ?? 0) || DEFAULT_SECONDS;

  response.setHeader("Content-Type", "application/json");
  response.setHeader("Cache-Control", "no-cache, private");
  response.setHeader("Transfer-Encoding", "chunked");
  response.writeHead(200);
  response.flushHeaders();

  let first = true;
  const encode = (type: string, stored: Stored): string => {
    let object: string;
    if (form.as === "Table") {
      const metadata = { resourceVersion: String(stored.version) };
      object = tableJson(resource, [stored], form.version, includeOf(query), metadata, first);
      first = false;
    } else if (form.as === "object") return plain(resource, type, stored);
    else
      object = JSON.stringify({
        kind: "PartialObjectMetadata",
        apiVersion: `meta.k8s.io/${form.version}`,
        metadata: stored.object.metadata,
      });
    return `{"type":"${type}","object":${object}}\n`;
  };
  const send = (text: string): void => {
    if (response.writableLength > MOST_UNREAD) response.destroy();
    else response.write(text);
  };
  const matches = (stored: Stored | undefined): boolean =>
    stored !== undefined && (namespace === "" || stored.namespace === namespace) && (select?.(stored.object) ?? true);
  const bookmark = (annotations?: Record<string, string>): void => {
    const metadata = {
      resourceVersion: String(storage.version),
      ...(annotations === undefined ? {} : { annotations }),
    };
    if (form.as === "Table") {
      const empty = bookmarkStored(resource, metadata);
      send(
        `{"type":"BOOKMARK","object":${tableJson(resource, [empty], form.version, includeOf(query), metadata, first)}}\n`,
      );
      return;
    }
    const kind = form.as === "object" ? resource.kind : "PartialObjectMetadata";
    const apiVersion = form.as === "object" ? apiVersionOf(resource) : `meta.k8s.io/${form.version}`;
    send(`${JSON.stringify({ type: "BOOKMARK", object: { kind, apiVersion, metadata } })}\n`);
  };
  const tell = (change: Change): void => {
    const is = change.type !== "DELETED" && matches(change.stored);
    const was = matches(change.before);
    if (is) send(encode(was ? "MODIFIED" : "ADDED", change.stored));
    else if (was) send(encode("DELETED", change.type === "DELETED" ? change.stored : lastSeen(change)));
  };

  // Nothing below yields between reading the state and listening, so no change falls between.
  const version = Number(asked || 0);
  if (initial || ((asked === "" || asked === "0") && query.get("sendInitialEvents") !== "false")) {
    for (const stored of storage.list(resource.storedAs, namespace)) if (matches(stored)) send(encode("ADDED", stored));
    if (initial && bookmarks) bookmark({ "k8s.io/initial-events-end": "true" });
  } else if (asked !== "" && asked !== "0") {
    const missed = storage.since(resource.storedAs, version);
    if (missed === undefined) {
      const error = expired(`too old resource version: ${asked} (${storage.oldest + 1})`);
      response.end(`${JSON.stringify({ type: "ERROR", object: error.body })}\n`);
      return;
    }
    for (const change of missed) tell(change);
  }
  const stop = storage.listen(resource.storedAs, tell);
  const ticker = bookmarks ? setInterval(() => bookmark(), BOOKMARK_EVERY).unref() : undefined;
  const timer = Promise.withResolvers<void>();
  const timeout = setTimeout(timer.resolve, Math.min(seconds, 86_400) * 1000).unref();
  request.signal.addEventListener("abort", () => timer.resolve(), { once: true });
  response.once("close", timer.resolve);
  if (request.signal.aborted) timer.resolve();
  try {
    await timer.promise;
  } finally {
    stop();
    clearInterval(ticker);
    clearTimeout(timeout);
  }
  if (!response.destroyed) {
    if (bookmarks) bookmark();
    response.end();
  }
}

const encoded = new WeakMap<Stored, Map<string, string>>();

/** The line of a change, made once for all watchers. */
function plain(resource: Resource, type: string, stored: Stored): string {
  let lines = encoded.get(stored);
  if (lines === undefined) encoded.set(stored, (lines = new Map()));
  const key = `${type} ${resource.group}`;
  let line = lines.get(key);
  if (line === undefined) lines.set(key, (line = `{"type":"${type}","object":${objectJson(resource, stored)}}\n`));
  return line;
}

/** An object that left the selection is shown as it was, at the version at which it left. */
function lastSeen({ before, stored, version }: Change): Stored {
  const last = before ?? stored;
  const object = {
    ...last.object,
    metadata: { ...last.object.metadata, resourceVersion: String(version) },
  } as KubeObject;
  return { ...last, version, object, json: JSON.stringify(object) };
}

function bookmarkStored(resource: Resource, metadata: object): Stored {
  const object = { metadata, spec: { containers: [] }, involvedObject: {} } as KubeObject;
  return { resource: resource.storedAs, namespace: "", name: "", version: 0, object, json: JSON.stringify(object) };
}

/** `sendInitialEvents` and `resourceVersionMatch` go together, and only so. */
function checkInitial(query: URLSearchParams): void {
  const match = query.get("resourceVersionMatch") ?? "";
  const initial = query.has("sendInitialEvents");
  const wrong = (field: string, why: string): never => {
    const message = `Forbidden: ${why}`;
    throw new StatusError(422, "Invalid", `ListOptions.meta.k8s.io "" is invalid: ${field}: ${message}`, {
      group: "meta.k8s.io",
      kind: "ListOptions",
      causes: [{ reason: "FieldValueForbidden", message, field }],
    });
  };
  if (initial && match !== "NotOlderThan")
    wrong("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
  if (!initial && match !== "") wrong("resourceVersionMatch", "resourceVersionMatch is forbidden for watch");
}
