import type { ServerResponse } from "node:http";
import { checkForm, formOf, type Form } from "./accept.ts";
import { restrictNode } from "./authorize.ts";
import { manageUpdate } from "./apply.ts";
import { decodeAs, readBody, strictProblemsIn, type Decoded } from "./body.ts";
import type { AnyObject, Resource } from "./kinds/resource.ts";
import type { Objects, WriteOptions } from "./objects.ts";
import { waitFor } from "./freshness.ts";
import { listOptions, parseVersion } from "./list-options.ts";
import { readPage } from "./pages.ts";
import { checkName, patchVerb, type Part } from "./patch-verb.ts";
import { formJson, listJson, sendJson, sendText, warn } from "./respond.ts";
import type { ApiRequest } from "./router.ts";
import { selectorOf } from "./select.ts";
import { StatusError } from "./status.ts";
import type { Stored } from "./storage.ts";
import { watch } from "./watch.ts";
import { deleteOptions, writeQuery, type WriteQuery } from "./write-options.ts";

/** The standard verbs of one resource, over HTTP. */
export class Verbs {
  readonly objects: Objects;
  readonly resource: Resource;

  constructor(objects: Objects, resource: Resource) {
    this.objects = objects;
    this.resource = resource;
  }

  async get(request: ApiRequest, response: ServerResponse): Promise<void> {
    const { namespace, name } = this.place(request);
    const asked = parseVersion(request.query.get("resourceVersion") ?? "", (why) => new StatusError(500, "", why));
    await waitFor(asked, this.objects.storage, request.signal);
    this.#send(request, response, 200, this.objects.get(this.resource, namespace, name));
  }

  async list(request: ApiRequest, response: ServerResponse): Promise<void> {
    const { query } = request;
    const { namespace } = this.place(request);
    const { resource } = this;
    const { storage } = this.objects;
    const options = listOptions(query);
    const form = this.#form(request, options.watch ? "watch" : "list");
    const select = selectorOf(resource, query);
    if (options.watch) return watch(request, response, { storage, resource, namespace, select, form, options });
    const { items, metadata } = await readPage(storage, resource.storedAs, namespace, options, select, request.signal);
    sendText(request, response, 200, listJson(resource, items, form, query, metadata), form.yaml);
  }

  async create(request: ApiRequest, response: ServerResponse): Promise<void> {
    refuseOddAccept(request);
    const { namespace } = this.place(request);
    const query = writeQuery(request, "CreateOptions");
    const { object, warnings } = await this.#read(request, query);
    restrictNode(request.user, this.resource, object);
    const stored = this.objects.create(this.resource, namespace, object, this.#options(query));
    warn(response, [...warnings, ...(this.resource.warnings?.(stored.object as AnyObject) ?? [])]);
    this.#send(request, response, 201, stored);
  }

  async update(request: ApiRequest, response: ServerResponse, part?: Part): Promise<void> {
    refuseOddAccept(request);
    const { namespace, name } = this.place(request);
    const query = writeQuery(request, "UpdateOptions");
    const { object, warnings } = await this.#read(request, query);
    warn(response, warnings);
    checkName(object, name);
    const missing = this.objects.storage.get(this.resource.storedAs, namespace, name) === undefined;
    if (missing && this.resource.createsOnUpdate === true && part === undefined) {
      restrictNode(request.user, this.resource, object);
      delete object.metadata.resourceVersion;
      this.#send(request, response, 201, this.objects.create(this.resource, namespace, object, this.#options(query)));
      return;
    }
    const options = { ...this.#options(query, part), part };
    this.#send(
      request,
      response,
      200,
      this.objects.update(this.resource, namespace, name, () => object, options),
    );
  }

  async patch(request: ApiRequest, response: ServerResponse, part?: Part): Promise<void> {
    refuseOddAccept(request);
    const { objects, resource } = this;
    const { stored, created, warnings } = await patchVerb(request, { objects, resource, ...this.place(request), part });
    warn(response, warnings);
    this.#send(request, response, created ? 201 : 200, stored);
  }

  async delete(request: ApiRequest, response: ServerResponse): Promise<void> {
    refuseOddAccept(request);
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
    const form = this.#form(request, "list");
    const asked = listOptions(request.query);
    const select = selectorOf(resource, request.query);
    const options = await deleteOptions(request);
    const { storage } = objects;
    const { items, metadata } = await readPage(storage, resource.storedAs, namespace, asked, select, request.signal);
    for (const stored of items)
      if (storage.get(resource.storedAs, stored.namespace, stored.name) !== undefined)
        objects.delete(resource, stored.namespace, stored.name, options);
    sendText(request, response, 200, listJson(resource, items, form, request.query, metadata), form.yaml);
  }

  /** Where a request points: its namespace ("" for none, or for all) and name. */
  place(request: ApiRequest): { namespace: string; name: string } {
    return { namespace: request.params["namespace"] ?? "", name: request.params["name"] ?? "" };
  }

  async #read(request: ApiRequest, { validation }: WriteQuery): Promise<Decoded> {
    const value = await readBody(request, this.resource);
    const problems = await strictProblemsIn(request, this.resource, validation);
    return decodeAs(this.resource, value, validation, problems);
  }

  #options({ dryRun, manager }: WriteQuery, part?: Part): WriteOptions {
    const { resource } = this;
    return { dryRun, manage: (object, before) => manageUpdate(resource, object, before, manager, part ?? "") };
  }

  /** The form of the answer. */
  #form(request: ApiRequest, what: "object" | "list" | "watch"): Form {
    const form = formOf(request.raw.headers.accept);
    const { group, kind } = this.resource;
    const room = group === "coordination.k8s.io" ? "coordination" : "core";
    checkForm(form, what, `${room}.${kind}`, request.query);
    return form;
  }

  #send(request: ApiRequest, response: ServerResponse, code: number, stored: Stored): void {
    const form = this.#form(request, "object");
    sendText(request, response, code, [formJson(this.resource, stored, form, request.query)], form.yaml);
  }
}

/** What nobody could be told of is not done. */
function refuseOddAccept({ raw }: ApiRequest): void {
  formOf(raw.headers.accept);
}
