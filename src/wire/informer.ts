import { setTimeout as sleep } from "node:timers/promises";
import { isFailure, type Log, messageOf } from "#base";
import type { KubeObject } from "#k8s";
import type { KubeClient, Query } from "./kube-client.ts";

export interface InformerOptions<T> {
  readonly client: KubeClient;
  readonly path: string;
  readonly query?: Query;
  readonly log: Log;
  /** An object is new or changed. Not called again for a resourceVersion that was seen. */
  readonly onChange: (object: T, old: T | undefined) => void;
  /** An object is gone; `object` is what was last known of it. */
  readonly onDelete: (object: T) => void;
}

/** A local copy of a collection that follows the API server: list, then watch, and list again where the watch was lost. */
export interface Informer<T> extends AsyncDisposable {
  /** After the first list was handed over. */
  readonly synced: Promise<void>;
  /** By `namespace/name`, or `name` where the kind has no namespace. */
  get(key: string): T | undefined;
  list(): readonly T[];
}

const WATCH_SECONDS = 300;

export function startInformer<T extends KubeObject>(options: InformerOptions<T>): Informer<T> {
  const { client, path, query, log } = options;
  const objects = new Map<string, T>();
  const stop = new AbortController();
  const first = Promise.withResolvers<void>();

  const put = (object: T): void => {
    const key = keyOf(object);
    const old = objects.get(key);
    if (old && old.metadata?.uid !== object.metadata?.uid) options.onDelete(old);
    else if (old && old.metadata?.resourceVersion === object.metadata?.resourceVersion) return;
    objects.set(key, object);
    options.onChange(object, old?.metadata?.uid === object.metadata?.uid ? old : undefined);
  };
  const drop = (object: T): void => {
    if (objects.delete(keyOf(object))) options.onDelete(object);
  };

  const relist = async (): Promise<string | undefined> => {
    const list = await client.list<T>(path, query, { signal: stop.signal });
    const here = new Set(list.items.map(keyOf));
    for (const [key, object] of objects) if (!here.has(key)) drop(object);
    for (const object of list.items) put(object);
    first.resolve();
    return list.metadata?.resourceVersion;
  };

  let version: string | undefined;
  const follow = async (): Promise<void> => {
    const asked = { ...query, resourceVersion: version, allowWatchBookmarks: true, timeoutSeconds: WATCH_SECONDS };
    for await (const event of client.watch<T>(path, asked, { signal: stop.signal })) {
      version = event.object.metadata?.resourceVersion ?? version;
      if (event.type === "DELETED") drop(event.object);
      else if (event.type !== "BOOKMARK") put(event.object);
    }
  };

  const run = async (): Promise<void> => {
    let failures = 0;
    while (!stop.signal.aborted) {
      try {
        version ??= await relist();
        const started = performance.now();
        await follow();
        // A server that ends every watch at once must not make a busy loop.
        if (performance.now() - started < 1000) await sleep(200, undefined, { signal: stop.signal });
        failures = 0;
      } catch (error) {
        if (stop.signal.aborted) return;
        if (isFailure(error, "Expired", "Gone")) version = undefined;
        else {
          if (!isFailure(error, "UNREACHABLE")) version = undefined;
          failures++;
          log.warn({ path, error: messageOf(error) }, "watch interrupted");
          await sleep(Math.min(200 * 2 ** Math.min(failures, 6), 10_000), undefined, { signal: stop.signal });
        }
      }
    }
  };
  const running = run().catch(() => undefined);

  return {
    synced: first.promise,
    get: (key) => objects.get(key),
    list: () => [...objects.values()],
    async [Symbol.asyncDispose]() {
      stop.abort();
      first.resolve();
      await running;
    },
  };
}

function keyOf(object: KubeObject): string {
  const { namespace, name } = object.metadata ?? {};
  return namespace ? `${namespace}/${name}` : String(name);
}
