import type { Event, KubeObject } from "#k8s";
import { subdomainName } from "../meta.ts";
import { ageOf, column, NAME } from "./columns.ts";
import { validateEvent, validateEventUpdate, validateNewEvent } from "./event-rules.ts";
import { ALL_VERBS, type AnyObject, type Resource } from "./resource.ts";

const COLUMNS = [
  column("Last Seen", "The time at which the most recent occurrence of this event was recorded."),
  column("Type", "Type of this event (Normal, Warning), new types could be added in the future"),
  column(
    "Reason",
    "This should be a short, machine understandable string that gives the reason for the transition into the object's current status.",
  ),
  column("Object", "The object that this event is about."),
  column(
    "Subobject",
    "If referring to a piece of an object instead of an entire object, this string should contain a valid JSON/Go field access statement, such as desiredState.manifest.containers[2].",
    1,
  ),
  column("Source", "The component reporting this event. Should be a short machine understandable string.", 1),
  column("Message", "A human-readable description of the status of this operation."),
  column("First Seen", "The time at which the event was first recorded. (Time of server receipt is in TypeMeta.)", 1),
  column("Count", "The number of times this event has occurred.", 1),
  { ...NAME, priority: 1 },
];

function cells(object: KubeObject, now: Date): unknown[] {
  const event = object as Event;
  const first = event.firstTimestamp ?? event.eventTime;
  const last = event.series?.lastObservedTime ?? event.lastTimestamp ?? first;
  const kind = (event.involvedObject.kind ?? "").toLowerCase();
  const { component, host } = event.source ?? {};
  const source = [component || event.reportingComponent || "", host || event.reportingInstance || ""].filter(Boolean);
  return [
    ageOf(last, now),
    event.type ?? "",
    event.reason ?? "",
    event.involvedObject.name ? `${kind}/${event.involvedObject.name}` : kind,
    event.involvedObject.fieldPath ?? "",
    source.join(", "),
    (event.message ?? "").trim(),
    ageOf(first, now),
    event.series?.count ?? (event.count || 1),
    event.metadata.name ?? "",
  ];
}

function fields(object: KubeObject): Record<string, string> {
  const event = object as Event;
  const { kind, namespace, name, uid, apiVersion, resourceVersion, fieldPath } = event.involvedObject;
  return {
    "involvedObject.kind": kind ?? "",
    "involvedObject.namespace": namespace ?? "",
    "involvedObject.name": name ?? "",
    "involvedObject.uid": uid ?? "",
    "involvedObject.apiVersion": apiVersion ?? "",
    "involvedObject.resourceVersion": resourceVersion ?? "",
    "involvedObject.fieldPath": fieldPath ?? "",
    reason: event.reason ?? "",
    reportingComponent: event.reportingComponent ?? "",
    source: event.source?.component || event.reportingComponent || "",
    type: event.type ?? "",
  };
}

export const events: Resource = {
  group: "",
  version: "v1",
  resource: "events",
  singular: "event",
  kind: "Event",
  type: "v1.Event",
  shortNames: ["ev"],
  namespaced: true,
  verbs: ALL_VERBS,
  storedAs: "events",
  hasStatus: false,
  generations: false,
  returnsDeleted: false,
  createsOnUpdate: true,
  nameErrors: subdomainName,
  validate: (object, errors) => validateEvent(object as unknown as Event, "reportingComponent", errors),
  fields,
  columns: COLUMNS,
  cells,
};

const RENAMED = [
  ["note", "message"],
  ["regarding", "involvedObject"],
  ["deprecatedSource", "source"],
  ["deprecatedFirstTimestamp", "firstTimestamp"],
  ["deprecatedLastTimestamp", "lastTimestamp"],
  ["deprecatedCount", "count"],
  ["reportingController", "reportingComponent"],
] as const;

function renamed(object: KubeObject, from: 0 | 1): AnyObject {
  const result: Record<string, unknown> = { ...object };
  for (const pair of RENAMED) delete result[pair[from]];
  for (const pair of RENAMED) {
    const value = (object as AnyObject)[pair[from]];
    if (value !== undefined) result[pair[1 - from] as string] = value;
  }
  return result as AnyObject;
}

/** The same events in the shape of events.k8s.io. */
export const eventsV1: Resource = {
  ...events,
  group: "events.k8s.io",
  type: "events.Event",
  validate: (object, errors) => validateEvent(object as unknown as Event, "reportingController", errors),
  validateNew: (object, errors) => validateNewEvent(object as unknown as Event, errors),
  validateUpdate: (object, before, errors) =>
    validateEventUpdate(object as unknown as Event, before as unknown as Event, errors),
  fields(object) {
    const { source: _source, ...known } = fields(object);
    return Object.fromEntries(Object.entries(known).map(([name, value]) => [fieldOfV1(name), value]));
  },
  toStored: (object) => renamed(object, 0),
  fromStored: (object) => renamed(object, 1),
};

const fieldOfV1 = (name: string): string =>
  name.replace(/^involvedObject\./, "regarding.").replace(/^reportingComponent$/, "reportingController");
