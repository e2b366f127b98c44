import type { Event } from "#k8s";
import { events } from "./kinds/event.ts";
import type { Resource } from "./kinds/resource.ts";
import type { Objects } from "./objects.ts";
import type { Stored } from "./storage.ts";

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

/** Which objects name which owner, by the owner's uid: so that a deletion finds what it leaves behind. */
export class Owners {
  readonly #objects: Objects;
  readonly #owned = new Map<string, Map<string, { resource: Resource; stored: Stored }>>();

  constructor(objects: Objects) {
    this.#objects = objects;
  }

  /** Takes note of an object that was written. */
  note(resource: Resource, stored: Stored): void {
    for (const { uid } of stored.object.metadata?.ownerReferences ?? []) {
      let all = this.#owned.get(uid);
      if (all === undefined) this.#owned.set(uid, (all = new Map()));
      all.set(`${resource.storedAs} ${stored.namespace}/${stored.name}`, { resource, stored });
    }
  }

  has(uid: string): boolean {
    return this.#owned.has(uid);
  }

  /** Deletes what the object with this uid alone owned. */
  bury(uid: string): void {
    const all = this.#owned.get(uid);
    this.#owned.delete(uid);
    for (const { resource, stored } of all?.values() ?? []) {
      const { namespace, name } = stored;
      const { metadata } = this.#objects.storage.get(resource.storedAs, namespace, name)?.object ?? {};
      const owners = metadata?.ownerReferences ?? [];
      if (owners.length === 0 || metadata?.deletionTimestamp !== undefined) continue;
      if (owners.every((owner) => owner.uid === uid)) this.#objects.delete(resource, namespace, name, {});
    }
  }
}
