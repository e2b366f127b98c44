import type { ServerResponse } from "node:http";
import { messageOf } from "#base";
import { isRecord } from "#k8s";
import { restrictNode } from "./authorize.ts";
import { applyObject, manageUpdate } from "./apply.ts";
import { decodeAs, duplicatesIn, mediaTypeOf, parseYamlBody, readBody, validationOf } from "./body.ts";
import { apiVersionOf, type AnyObject, type Resource } from "./kinds/resource.ts";
import type { Objects, WriteOptions } from "./objects.ts";
import { listOptions } from "./list-options.ts";
import { readPage } from "./pages.ts";
import { STRATEGIC, badPatch, goValue, patcher, untyped } from "./patches.ts";
import { formJson, formOf, listJson, sendJson, sendText, warn } from "./respond.ts";
import type { ApiRequest } from "./router.ts";
import { selectorOf } from "./select.ts";
import { badRequest, notFound } from "./status.ts";
import type { Stored } from "./storage.ts";
import { watch } from "./watch.ts";
import { deleteOptions, invalidPatchOptions, isDryRun } from "./write-options.ts";

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
    const options = listOptions(query);
    const select = selectorOf(resource, query);
    if (options.watch) return watch(request, response, { storage, resource, namespace, select, form, options });
    const { items, metadata } = readPage(storage, resource.storedAs, namespace, options, select);
    sendText(request, response, 200, listJson(resource, items, form, query, metadata), form.yaml);
  }

  async create(request: ApiRequest, response: ServerResponse): Promise<void> {
    const { namespace } = this.place(request);
    const validation = validationOf(request.query);
    const value = await readBody(request, this.resource);
    const duplicates = await duplicatesIn(request, validation);
    const { object, warnings } = decodeAs(this.resource, value, validation, duplicates);
    restrictNode(request.user, this.resource, object);
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
    if (!object.metadata.name)
      throw badRequest(`the name of the object (${name} based on URL) was undeterminable: name must be provided`);
    if (object.metadata.name !== name)
      throw badRequest(`the name of the object (${object.metadata.name}) does not match the name on the URL (${name})`);
    const missing = this.objects.storage.get(this.resource.storedAs, namespace, name) === undefined;
    if (missing && this.resource.createsOnUpdate === true && part === undefined) {
      restrictNode(request.user, this.resource, object);
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
    const patched = patcher(this.resource, type, text);
    const warnings: string[] = [];
    const change = (current: AnyObject): AnyObject => {
      const versioned = { kind: this.resource.kind, apiVersion: apiVersionOf(this.resource), ...current };
      const value = patched(versioned);
      try {
        const decoded = decodeAs(this.resource, value, validation);
        warnings.push(...decoded.warnings);
        return decoded.object;
      } catch (cause) {
        throw badPatch(type === STRATEGIC ? goValue(JSON.parse(text)) : JSON.stringify(value), messageOf(cause));
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
    const { objects, resource } = this;
    const asked = listOptions(request.query);
    const select = selectorOf(resource, request.query);
    const options = await deleteOptions(request);
    const { items, metadata } = readPage(objects.storage, resource.storedAs, namespace, asked, select);
    for (const stored of items)
      if (objects.storage.get(resource.storedAs, stored.namespace, stored.name) !== undefined)
        objects.delete(resource, stored.namespace, stored.name, options);
    const form = formOf(request.raw.headers.accept);
    sendText(request, response, 200, listJson(resource, items, form, request.query, metadata), form.yaml);
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
    if (odd !== undefined) throw untyped(this.resource, namespace, name, applied, odd);
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
      restrictNode(request.user, this.resource, typed);
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
