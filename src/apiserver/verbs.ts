import type { ServerResponse } from "node:http";
import { isFailure, messageOf } from "#base";
import { decode, isRecord, jsonPatch, mergePatch, showIndexed, strategicMerge, type KubeObject } from "#k8s";
import { applyObject, manageUpdate } from "./apply.ts";
import { decodeAs, duplicatesIn, mediaTypeOf, parseYamlBody, readBody, validationOf } from "./body.ts";
import { apiVersionOf, type AnyObject, type Resource } from "./kinds/resource.ts";
import type { DeleteOptions, Objects, WriteOptions } from "./objects.ts";
import { formJson, formOf, listJson, sendJson, sendText, warn } from "./respond.ts";
import type { ApiRequest } from "./router.ts";
import { selectorOf } from "./select.ts";
import { StatusError, badRequest, expired, notFound } from "./status.ts";
import type { Stored } from "./storage.ts";
import { watch } from "./watch.ts";

export type Part = "status" | "ephemeralcontainers" | undefined;

/** The standard verbs of one resource, over HTTP. */
export class Verbs {
  readonly objects: Objects;
  readonly resource: Resource;

  constructor(objects: Objects, resource: Resource) {
    this.objects = objects;
    this.resource = resource;
  }

  get(request: ApiRequest, response: ServerResponse): void {
    const { namespace, name } = this.place(request);
    this.#send(request, response, 200, this.objects.get(this.resource, namespace, name));
  }

  async list(request: ApiRequest, response: ServerResponse): Promise<void> {
    const { query } = request;
    const { namespace } = this.place(request);
    const { resource } = this;
    const { storage } = this.objects;
    const form = formOf(request.raw.headers.accept);
    const select = selectorOf(resource, query);
    if (/^(1|true)$/i.test(query.get("watch") ?? ""))
      return watch(request, response, storage, resource, namespace, select, form);
    const version = query.get("resourceVersion") ?? "";
    if (!/^\d*$/.test(version)) throw badRequest(`invalid resource version: ${JSON.stringify(version)}`);
    if (Number(version) > storage.version)
      throw new StatusError(504, "Timeout", `Too large resource version: ${version}, current: ${storage.version}`, {
        causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }],
        retryAfterSeconds: 1,
      });
    const all = storage.list(resource.storedAs, namespace);
    const matching = select === undefined ? all : all.filter((stored) => select(stored.object));
    const { items, metadata } = page(matching, query, storage.version, storage.oldest);
    sendText(request, response, 200, listJson(resource, items, form, query, metadata), form.yaml);
  }

  async create(request: ApiRequest, response: ServerResponse): Promise<void> {
    const { namespace } = this.place(request);
    const validation = validationOf(request.query);
    const value = await readBody(request, this.resource);
    const duplicates = await duplicatesIn(request, validation);
    const { object, warnings } = decodeAs(this.resource, value, validation, duplicates);
    const stored = this.objects.create(this.resource, namespace, object, this.#options(request));
    warn(response, [...warnings, ...(this.resource.warnings?.(stored.object as AnyObject) ?? [])]);
    this.#send(request, response, 201, stored);
  }

  async update(request: ApiRequest, response: ServerResponse, part?: Part): Promise<void> {
    const { namespace, name } = this.place(request);
    const validation = validationOf(request.query);
    const value = await readBody(request, this.resource);
    const duplicates = await duplicatesIn(request, validation);
    const { object, warnings } = decodeAs(this.resource, value, validation, duplicates);
    warn(response, warnings);
    const missing = this.objects.storage.get(this.resource.storedAs, namespace, name) === undefined;
    if (missing && this.resource.createsOnUpdate === true && part === undefined) {
      if ((object.metadata.name ?? "") !== name)
        throw badRequest(
          `the name of the object (${object.metadata.name ?? ""}) does not match the name on the URL (${name})`,
        );
      delete object.metadata.resourceVersion;
      this.#send(request, response, 201, this.objects.create(this.resource, namespace, object, this.#options(request)));
      return;
    }
    const options = { ...this.#options(request, part), part };
    this.#send(
      request,
      response,
      200,
      this.objects.update(this.resource, namespace, name, () => object, options),
    );
  }

  async patch(request: ApiRequest, response: ServerResponse, part?: Part): Promise<void> {
    const { namespace, name } = this.place(request);
    const type = mediaTypeOf(request);
    const text = (await request.body()).toString("utf8");
    if (type === "application/apply-patch+yaml") return this.#apply(request, response, text, part);
    const validation = validationOf(request.query);
    const patched = this.#patcher(type, text);
    const warnings: string[] = [];
    const change = (current: AnyObject): AnyObject => {
      const versioned = { kind: this.resource.kind, apiVersion: apiVersionOf(this.resource), ...current };
      const value = patched(versioned);
      try {
        const decoded = decodeAs(this.resource, value, validation);
        warnings.push(...decoded.warnings);
        return decoded.object;
      } catch (cause) {
        const strategic = type === "application/strategic-merge-patch+json";
        throw this.#badPatch(strategic ? goValue(JSON.parse(text)) : JSON.stringify(value), messageOf(cause));
      }
    };
    const options = { ...this.#options(request, part), part };
    const stored = this.objects.update(this.resource, namespace, name, change, options);
    warn(response, warnings);
    this.#send(request, response, 200, stored);
  }

  async delete(request: ApiRequest, response: ServerResponse): Promise<void> {
    const { namespace, name } = this.place(request);
    const options = await deleteOptions(request);
    const { stored, gone } = this.objects.delete(this.resource, namespace, name, options);
    if (!gone || this.resource.returnsDeleted) {
      this.#send(request, response, 200, stored);
      return;
    }
    const { group, resource } = this.resource;
    const details = { name, ...(group === "" ? {} : { group }), kind: resource, uid: stored.object.metadata?.uid };
    sendJson(request, response, 200, { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", details });
  }

  async deleteCollection(request: ApiRequest, response: ServerResponse): Promise<void> {
    const { namespace } = this.place(request);
    const options = await deleteOptions(request);
    const select = selectorOf(this.resource, request.query);
    const found = this.objects.storage
      .list(this.resource.storedAs, namespace)
      .filter((stored) => select?.(stored.object) ?? true);
    const items = found.map(
      (stored) => this.objects.delete(this.resource, stored.namespace, stored.name, options).stored,
    );
    const form = formOf(request.raw.headers.accept);
    const metadata = { resourceVersion: String(this.objects.storage.version) };
    sendText(request, response, 200, listJson(this.resource, items, form, request.query, metadata), form.yaml);
  }

  /** Where a request points: its namespace ("" for none, or for all) and name. */
  place(request: ApiRequest): { namespace: string; name: string } {
    return { namespace: request.params["namespace"] ?? "", name: request.params["name"] ?? "" };
  }

  #apply(request: ApiRequest, response: ServerResponse, text: string, part: Part): void {
    const { namespace, name } = this.place(request);
    const { query } = request;
    const manager = query.get("fieldManager") ?? "";
    if (manager === "") throw invalidPatchOptions("fieldManager", "Required value: is required for apply patch");
    const value = parseYamlBody(text);
    if (!isRecord(value)) throw badRequest("error decoding YAML: an apply configuration must be an object");
    const applied = value as unknown as AnyObject;
    const { object: typed, warnings } = decodeAs(this.resource, value, "Warn");
    const odd = /^unknown field "(.*)"$/.exec(warnings[0] ?? "")?.[1];
    if (odd !== undefined) throw this.#untyped(namespace, name, applied, odd);
    if (typed.metadata.managedFields !== undefined) throw badRequest("metadata.managedFields must be nil");
    const existing = this.objects.storage.get(this.resource.storedAs, namespace, name);
    const force = /^(1|true)$/i.test(query.get("force") ?? "");
    const request_ = { resource: this.resource, manager, force, ...(part === undefined ? {} : { subresource: part }) };
    if (typed.metadata.name === undefined) applied.metadata = { ...applied.metadata, name };
    if ((applied.metadata.name ?? "") !== name)
      throw badRequest(
        `the name of the object (${applied.metadata.name ?? ""}) does not match the name on the URL (${name})`,
      );
    const options = { dryRun: isDryRun(query) };
    if (existing === undefined) {
      if (part !== undefined) throw notFound(this.resource, name);
      if (typed.metadata.resourceVersion !== undefined || typed.metadata.uid !== undefined)
        throw notFound(this.resource, name);
      const { object: merged, manage } = applyObject(undefined, applied, request_);
      const { object } = decodeAs(this.resource, merged, "Ignore");
      this.#send(request, response, 201, this.objects.create(this.resource, namespace, object, { ...options, manage }));
      return;
    }
    const before = existing.object;
    const { object: merged, manage } = applyObject(before, applied, request_);
    const { object } = decodeAs(this.resource, merged, "Ignore");
    const stored = this.objects.update(this.resource, namespace, name, () => object, { ...options, manage, part });
    this.#send(request, response, 200, stored);
  }

  /** An applied object with a field the schema does not have is refused, whatever the validation asked for. */
  #untyped(namespace: string, name: string, applied: AnyObject, path: string): StatusError {
    const where = showIndexed(applied, path, this.resource.type);
    const what = `${namespace}/${name}; ${this.resource.group}/${this.resource.version}, Kind=${this.resource.kind}`;
    return new StatusError(
      500,
      "",
      `failed to create typed patch object (${what}): ${where}: field not declared in schema`,
    );
  }

  #patcher(type: string, text: string): (current: KubeObject) => unknown {
    const parsed = (): unknown => {
      try {
        return JSON.parse(text) as unknown;
      } catch (cause) {
        throw badRequest(messageOf(cause));
      }
    };
    switch (type) {
      case "application/json-patch+json": {
        const patch = parsed();
        return (current) => this.#attempt(() => jsonPatch(current, patch));
      }
      case "application/merge-patch+json": {
        const patch = parsed();
        if (!isRecord(patch)) throw badRequest("a merge patch must be an object");
        return (current) => mergePatch(current, patch);
      }
      case "application/strategic-merge-patch+json": {
        const patch = parsed();
        return (current) => this.#attempt(() => strategicMerge(current, patch, this.resource.type));
      }
      default:
        throw new StatusError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {});
    }
  }

  #attempt(run: () => unknown): unknown {
    try {
      return run();
    } catch (cause) {
      if (isFailure(cause, "PATCH_DOES_NOT_APPLY"))
        throw new StatusError(422, "Invalid", "the server rejected our request due to an error in our request", {});
      throw badRequest(messageOf(cause));
    }
  }

  /** A patch whose result is no object of the kind: upstream names no kind in that answer, and shows the result. */
  #badPatch(shown: string, why: string): StatusError {
    const plain = why.replace(/^.*? cannot be handled as a \w+: /, "");
    const message = `Invalid value: ${JSON.stringify(shown)}: ${plain}`;
    const causes = [{ reason: "FieldValueInvalid", message, field: "patch" }];
    return new StatusError(422, "Invalid", ` "" is invalid: patch: ${message}`, { causes });
  }

  #options(request: ApiRequest, part?: Part): WriteOptions {
    const agent = request.raw.headers["user-agent"] ?? "unknown";
    const manager = request.query.get("fieldManager") || (agent.split("/")[0] ?? "unknown");
    const { resource } = this;
    const subresource = part ?? "";
    return {
      dryRun: isDryRun(request.query),
      manage: (object, before) => manageUpdate(resource, object, before, manager, subresource),
    };
  }

  #send(request: ApiRequest, response: ServerResponse, code: number, stored: Stored): void {
    const form = formOf(request.raw.headers.accept);
    sendText(request, response, code, formJson(this.resource, stored, form, request.query), form.yaml);
  }
}

/** A JSON value as Go prints a map of it (`map[a:1 b:[x y]]`). */
function goValue(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(goValue).join(" ")}]`;
  if (typeof value === "string") return value;
  if (!isRecord(value)) return value === null ? "<nil>" : JSON.stringify(value);
  const members = Object.keys(value)
    .sort()
    .map((key) => `${key}:${goValue(value[key])}`);
  return `map[${members.join(" ")}]`;
}

/** One page of a list: `limit` items after where `continue` says. */
function page(
  items: readonly Stored[],
  query: URLSearchParams,
  version: number,
  oldest: number,
): { items: readonly Stored[]; metadata: object } {
  const limit = Number(query.get("limit") ?? 0);
  const token = query.get("continue") ?? "";
  let from = 0;
  let at = version;
  if (token !== "") {
    const start = readToken(token);
    if (start.version < oldest)
      throw expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.",
      );
    at = start.version;
    from = items.findIndex((stored) => keyOf(stored) > start.after);
    if (from < 0) from = items.length;
  }
  const end = limit > 0 ? from + limit : items.length;
  const left = items.length - end;
  const last = items[end - 1];
  const metadata = {
    resourceVersion: String(at),
    ...(left > 0 && last !== undefined
      ? {
          continue: writeToken(at, keyOf(last)),
          ...(query.has("labelSelector") || query.has("fieldSelector") ? {} : { remainingItemCount: left }),
        }
      : {}),
  };
  return { items: items.slice(from, end), metadata };
}

const keyOf = (stored: Stored): string => `${stored.namespace}\u0000${stored.name}`;

function writeToken(version: number, after: string): string {
  return Buffer.from(JSON.stringify({ v: "meta.k8s.io/v1", rv: version, start: after })).toString("base64url");
}

function readToken(token: string): { version: number; after: string } {
  try {
    const { rv, start } = JSON.parse(Buffer.from(token, "base64url").toString()) as { rv: unknown; start: unknown };
    if (typeof rv === "number" && typeof start === "string") return { version: rv, after: start };
  } catch {
    // Said below.
  }
  throw badRequest("continue key is not valid: it must be the one a list gave");
}

export function isDryRun(query: URLSearchParams): boolean {
  const values = query.getAll("dryRun").filter((value) => value !== "");
  for (const value of values) if (value !== "All") throw invalidDryRun(value);
  return values.length > 0;
}

function invalidDryRun(value: string): StatusError {
  const message = `Unsupported value: ${JSON.stringify(value)}: supported values: "All"`;
  return new StatusError(422, "Invalid", `CreateOptions.meta.k8s.io "" is invalid: dryRun: ${message}`, {
    group: "meta.k8s.io",
    kind: "CreateOptions",
    causes: [{ reason: "FieldValueNotSupported", message, field: "dryRun" }],
  });
}

function invalidPatchOptions(field: string, message: string): StatusError {
  return new StatusError(422, "Invalid", `PatchOptions.meta.k8s.io "" is invalid: ${field}: ${message}`, {
    group: "meta.k8s.io",
    kind: "PatchOptions",
    causes: [{ reason: "FieldValueRequired", message, field }],
  });
}

/** The options of a deletion, from its body or its query. */
export async function deleteOptions(request: ApiRequest): Promise<DeleteOptions> {
  const { query } = request;
  let given: Record<string, unknown> = {};
  const value = await readBody(request, { kind: "DeleteOptions" });
  if (value !== undefined)
    try {
      given = decode(value, "metav1.DeleteOptions").value;
    } catch (cause) {
      throw badRequest(messageOf(cause));
    }
  const grace =
    given["gracePeriodSeconds"] ??
    (query.has("gracePeriodSeconds") ? Number(query.get("gracePeriodSeconds")) : undefined);
  if (grace !== undefined && !Number.isInteger(grace)) throw badRequest("gracePeriodSeconds must be a whole number");
  const policy = (given["propagationPolicy"] as string | undefined) ?? query.get("propagationPolicy") ?? undefined;
  const dry = given["dryRun"] as string[] | undefined;
  for (const value of dry ?? []) if (value !== "All") throw invalidDryRun(value);
  return {
    ...(grace === undefined ? {} : { gracePeriodSeconds: grace as number }),
    ...(given["preconditions"] === undefined ? {} : { preconditions: given["preconditions"] as { uid?: string } }),
    ...(policy === undefined ? {} : { propagationPolicy: policy }),
    dryRun: (dry ?? []).length > 0 || isDryRun(query),
  };
}
