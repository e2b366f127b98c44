import type { Event } from "#k8s";
import { events } from "./kinds/event.ts";
import type { Objects } from "./objects.ts";

/** Events are kept for an hour, as kube-apiserver keeps them. */
const EVENTS_LIVE = 60 * 60 * 1000;

/** Removes events whose last occurrence is an hour old. */
export function forgetEvents(objects: Objects): void {
  const before = Date.now() - EVENTS_LIVE;
  for (const { namespace, name, object } of objects.storage.list("events")) {
    const { lastTimestamp, eventTime, series, metadata } = object as Event;
    const last = series?.lastObservedTime ?? lastTimestamp ?? eventTime ?? metadata.creationTimestamp;
    if (last != null && Date.parse(last) < before) objects.remove(events, namespace, name);
  }
}
