import { jsonEqual, type Event } from "#k8s";
import type { FieldErrors } from "../field-errors.ts";
import { dnsSubdomainErrors, qualifiedNameErrors } from "../names.ts";

const MAX_FIELD = 128;
const MAX_NOTE = 1024;

/** What holds for an event of either group. `reporter` is what the group calls the field of who reports. */
export function validateEvent(event: Event, reporter: string, errors: FieldErrors): void {
  const namespace = event.metadata.namespace ?? "";
  const home = event.involvedObject.namespace ?? "";
  const isNew = event.eventTime != null;
  const anywhere = isNew ? ["default", "kube-system"] : ["", "default"];
  if (home === "" ? !anywhere.includes(namespace) : !isNew && home !== namespace)
    errors.invalid("involvedObject.namespace", home, "does not match event.namespace");
  if (isNew) {
    const controller = event.reportingComponent ?? "";
    if (controller === "") errors.required(reporter);
    errors.invalidAll(reporter, controller, qualifiedNameErrors(controller));
    for (const field of ["reportingInstance", "action", "reason"] as const) {
      const value = event[field] ?? "";
      if (value === "") errors.required(field);
      if (Buffer.byteLength(value) > MAX_FIELD) errors.invalid(field, "", `can have at most ${MAX_FIELD} characters`);
    }
    if (Buffer.byteLength(event.message ?? "") > MAX_NOTE)
      errors.invalid("message", "", `can have at most ${MAX_NOTE} characters`);
  }
  errors.invalidAll("namespace", namespace, dnsSubdomainErrors(namespace));
}

/** What events.k8s.io asks of a new event besides. */
export function validateNewEvent(event: Event, errors: FieldErrors): void {
  series(event, errors);
  if (event.eventTime == null) errors.required("eventTime");
  if (event.type !== "Normal" && event.type !== "Warning")
    errors.invalid("type", "", `has invalid value: ${event.type ?? ""}`);
  const source = event.source?.component || event.source?.host;
  const old = { firstTimestamp: event.firstTimestamp, lastTimestamp: event.lastTimestamp, count: event.count, source };
  for (const [field, value] of Object.entries(old)) if (value) errors.invalid(field, "", "needs to be unset");
}

function series({ series }: Event, errors: FieldErrors): void {
  if (series === undefined) return;
  if ((series.count ?? 0) < 2) errors.invalid("series.count", "", "should be at least 2");
  if (series.lastObservedTime == null) errors.required("series.lastObservedTime");
}

/** Of an event of events.k8s.io only its series goes on. */
export function validateEventUpdate(event: Event, before: Event, errors: FieldErrors): void {
  if (!jsonEqual(event.series, before.series)) series(event, errors);
  for (const [field, name] of FIXED)
    if (!jsonEqual(event[field], before[field])) errors.invalid(name, event[field] ?? "", "field is immutable");
}

const FIXED = [
  ["involvedObject", "involvedObject"],
  ["reason", "reason"],
  ["message", "message"],
  ["source", "source"],
  ["firstTimestamp", "firstTimestamp"],
  ["lastTimestamp", "lastTimestamp"],
  ["count", "count"],
  ["reason", "reason"],
  ["type", "type"],
  ["eventTime", "eventTime"],
  ["action", "action"],
  ["related", "related"],
  ["reportingComponent", "reportingController"],
  ["reportingInstance", "reportingInstance"],
] as const;
