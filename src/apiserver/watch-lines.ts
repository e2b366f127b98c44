import { decode, type KubeObject } from "#k8s";
import type { Form } from "./accept.ts";
import { apiVersionOf, type Resource } from "./kinds/resource.ts";
import { includeOf, objectJson, tableJson } from "./respond.ts";
import type { StatusError } from "./status.ts";
import type { Change, Stored } from "./storage.ts";

export type EventType = Change["type"];

/** The lines of one watch, in the form its client asked for. */
export class WatchLines {
  readonly #resource: Resource;
  readonly #form: Form;
  readonly #include: string;
  #first = true;

  constructor(resource: Resource, form: Form, query: URLSearchParams) {
    this.#resource = resource;
    this.#form = form;
    this.#include = includeOf(query);
  }

  /** `change` is what the event comes from, if it shows what that left. */
  event(type: EventType, stored: Stored, change?: Change): string {
    if (this.#form.as === "object") return shared(this.#resource, type, stored, change);
    return line(type, this.#form.as === "Table" ? this.#table(stored) : JSON.stringify(this.#partial(stored.object)));
  }

  bookmark(version: number, annotations?: Readonly<Record<string, string>>): string {
    const metadata = { resourceVersion: String(version), ...(annotations === undefined ? {} : { annotations }) };
    if (this.#form.as === "Table") return line("BOOKMARK", this.#table(empty(this.#resource, metadata)));
    if (this.#form.as !== "object") return line("BOOKMARK", JSON.stringify(this.#partial({ metadata })));
    const { kind, type } = this.#resource;
    // Go sends what has nothing but a version with all the fields that it never leaves out.
    const bare = decode({ kind, apiVersion: apiVersionOf(this.#resource), metadata }, type).value;
    return line("BOOKMARK", JSON.stringify(bare));
  }

  error({ body }: StatusError): string {
    return line("ERROR", JSON.stringify(body));
  }

  #table(stored: Stored): string {
    const { resourceVersion } = stored.object.metadata ?? {};
    const json = tableJson(
      this.#resource,
      [stored],
      this.#form.version,
      this.#include,
      { resourceVersion },
      this.#first,
    );
    this.#first = false;
    return json;
  }

  #partial({ metadata }: { readonly metadata?: object | undefined }): object {
    return { kind: "PartialObjectMetadata", apiVersion: `meta.k8s.io/${this.#form.version}`, metadata };
  }
}

const line = (type: string, json: string): string => `{"type":"${type}","object":${json}}\n`;

const encoded = new WeakMap<Change, Map<string, string>>();

/** The line of a change, made once for all watchers that are told of it. */
function shared(resource: Resource, type: EventType, stored: Stored, change: Change | undefined): string {
  if (change?.stored !== stored) return line(type, objectJson(resource, stored));
  let lines = encoded.get(change);
  if (lines === undefined) encoded.set(change, (lines = new Map()));
  const key = `${type} ${resource.group}`;
  let text = lines.get(key);
  if (text === undefined) lines.set(key, (text = line(type, objectJson(resource, stored))));
  return text;
}

function empty(resource: Resource, metadata: object): Stored {
  const object = { metadata, spec: { containers: [] }, involvedObject: {} } as KubeObject;
  return { resource: resource.storedAs, namespace: "", name: "", version: 0, object, json: JSON.stringify(object) };
}
