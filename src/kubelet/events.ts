import { isFailure, type Log, messageOf } from "#base";
import { type Event, type KubeObject, type ObjectReference, type Pod, timestamp } from "#k8s";
import { type KubeClient, kubePath } from "#wire";
import { namespaceOf } from "./pod.ts";

export type EventType = "Normal" | "Warning";

/** Writes Events as client-go's recorder does: repeats raise a count, floods are combined, and nobody waits for the write. */
export interface EventRecorder extends AsyncDisposable {
  event(about: ObjectReference, type: EventType, reason: string, message: string): void;
  /** Rewrites an Event that was told before with `message` to say `now`, without counting it again. */
  amend(about: ObjectReference, type: EventType, reason: string, message: string, now: string): void;
  /** Resolves when what was recorded so far is written. */
  flush(): Promise<void>;
}

export interface RecorderOptions {
  readonly client: KubeClient;
  readonly component: string;
  readonly host: string;
  readonly log: Log;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
}

const KEYS = 4096;
const SIMILAR = 10;
const SIMILAR_WINDOW_MS = 600_000;
const BURST = 25;
const REFILL_MS = 300_000;

export function createEventRecorder(options: RecorderOptions): EventRecorder {
  const { client, component, host, log } = options;
  const now = options.now ?? Date.now;
  const written = new Map<string, { name: string; count: number }>();
  const similar = new Map<string, { readonly messages: Set<string>; at: number }>();
  const buckets = new Map<string, { tokens: number; at: number }>();
  let queue: Promise<void> = Promise.resolve();
  let serial = 0;

  const spammed = (about: ObjectReference): boolean => {
    const key = `${about.kind}/${about.namespace}/${about.name}/${about.uid}`;
    const bucket = buckets.get(key) ?? { tokens: BURST, at: now() };
    bucket.tokens = Math.min(BURST, bucket.tokens + (now() - bucket.at) / REFILL_MS);
    bucket.at = now();
    remember(buckets, key, bucket);
    if (bucket.tokens < 1) return true;
    bucket.tokens -= 1;
    return false;
  };

  const combined = (group: string, message: string): boolean => {
    let seen = similar.get(group);
    if (!seen || now() - seen.at > SIMILAR_WINDOW_MS) seen = { messages: new Set(), at: now() };
    seen.messages.add(message);
    seen.at = now();
    remember(similar, group, seen);
    return seen.messages.size > SIMILAR;
  };

  const write = async (key: string, about: ObjectReference, type: EventType, reason: string, message: string) => {
    const namespace = about.namespace ?? "default";
    const time = timestamp(now());
    const old = written.get(key);
    if (old) {
      try {
        const path = kubePath("v1", "events", { namespace, name: old.name });
        await client.patch(path, { count: old.count + 1, lastTimestamp: time, message }, "strategic");
        remember(written, key, { name: old.name, count: old.count + 1 });
        return;
      } catch (error) {
        if (!isFailure(error, "NotFound")) throw error;
      }
    }
    const name = `${about.name}.${BigInt(now()) * 1_000_000n + BigInt(serial++)}`;
    const event: Event = {
      apiVersion: "v1",
      kind: "Event",
      metadata: { name: hexSuffix(name), namespace },
      involvedObject: about,
      type,
      reason,
      message,
      source: { component, host },
      reportingComponent: component,
      reportingInstance: host,
      firstTimestamp: time,
      lastTimestamp: time,
      count: 1,
    };
    await client.create(kubePath("v1", "events", { namespace }), event);
    remember(written, key, { name: event.metadata.name ?? "", count: 1 });
  };

  const rewrite = async (key: string, about: ObjectReference, message: string): Promise<void> => {
    const old = written.get(key);
    if (!old) return;
    const path = kubePath("v1", "events", { namespace: about.namespace ?? "default", name: old.name });
    await client.patch(path, { message, lastTimestamp: timestamp(now()) }, "strategic");
  };

  const enqueue = (key: string, about: ObjectReference, type: EventType, reason: string, message: string): void => {
    queue = queue
      .then(() => write(key, about, type, reason, message))
      .catch((error: unknown) => {
        log.warn({ reason, object: about.name, error: messageOf(error) }, "event not written");
      });
  };

  return {
    event(about, type, reason, message) {
      if (spammed(about)) return;
      const group = groupOf(about, type, reason);
      if (combined(group, message)) enqueue(group, about, type, reason, `(combined from similar events): ${message}`);
      else enqueue(`${group}\0${message}`, about, type, reason, message);
    },
    amend(about, type, reason, message, text) {
      queue = queue
        .then(() => rewrite(`${groupOf(about, type, reason)}\0${message}`, about, text))
        .catch(() => undefined);
    },
    flush: () => queue,
    async [Symbol.asyncDispose]() {
      await queue;
    },
  };
}

/** What Events that differ in their message only have in common. */
function groupOf(about: ObjectReference, type: EventType, reason: string): string {
  return [about.kind, about.namespace, about.name, about.uid, about.fieldPath, type, reason].join("\0");
}

/** How Events name a Pod, or with `fieldPath` (`spec.containers{name}`) one of its containers. */
export function referenceTo(pod: Pod, fieldPath?: string): ObjectReference {
  const { name, uid, resourceVersion } = pod.metadata ?? {};
  return {
    apiVersion: "v1",
    kind: "Pod",
    namespace: namespaceOf(pod),
    ...(name === undefined ? {} : { name }),
    ...(uid === undefined ? {} : { uid }),
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
    ...(fieldPath === undefined ? {} : { fieldPath }),
  };
}

export function referenceToNode(
  node: KubeObject & { readonly metadata?: { readonly name?: string } },
): ObjectReference {
  const name = node.metadata?.name ?? "";
  return { apiVersion: "v1", kind: "Node", name, uid: name };
}

/** `name.17f3c0…`: the API's habit of a hexadecimal time at the end. */
function hexSuffix(name: string): string {
  const dot = name.lastIndexOf(".");
  return `${name.slice(0, dot)}.${BigInt(name.slice(dot + 1)).toString(16)}`;
}

/** Sets and keeps the newest {@link KEYS}. */
function remember<V>(map: Map<string, V>, key: string, value: V): void {
  map.delete(key);
  map.set(key, value);
  if (map.size > KEYS) map.delete(map.keys().next().value ?? "");
}
