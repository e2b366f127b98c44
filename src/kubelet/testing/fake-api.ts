import { randomUUID } from "node:crypto";
import { EventEmitter, on } from "node:events";
import { type CallOptions, Failure } from "#base";
import { type Event, type KubeObject, mergePatch, type Pod, strategicMerge } from "#k8s";
import type { KubeClient, KubeList, PatchType, Query, WatchEvent } from "#wire";

type Stored = KubeObject & { spec?: unknown; status?: unknown };

interface AccessReview {
  readonly spec: { readonly user: string; readonly resourceAttributes: { readonly subresource: string } };
}

const TYPES: Readonly<Record<string, string>> = { pods: "v1.Pod", nodes: "v1.Node", events: "v1.Event" };

/** An API server in memory, behind the client's interface: what a kubelet and a scheduler use, deletion with grace included. */
export interface FakeApi extends KubeClient {
  /** `POST /api/v1/…` of every request but watches, in order. */
  readonly requests: string[];
  /** Whether the user of a SubjectAccessReview may do what it asks about. Default: nobody. A token that was requested is known. */
  mayDo: (user: string, subresource: string) => boolean;
  /** Puts an object there as `kubectl apply` would, defaults for Pods included. */
  put<T extends KubeObject>(resource: string, object: T): T;
  /** As `kubectl delete`: with grace where it is a Pod. */
  drop(resource: string, namespace: string, name: string, graceSeconds?: number): void;
  read(resource: string, namespace: string, name: string): KubeObject | undefined;
  /** About the Pod of that name, in the order they were first told. */
  events(pod: string): Event[];
  /** Resolves when `test` holds, tried at every change. */
  until<T>(test: () => T | undefined | false, seconds?: number): Promise<T>;
}

export function fakeApi(): FakeApi {
  const objects = new Map<string, Stored>();
  const changes = new EventEmitter().setMaxListeners(0);
  const requests: string[] = [];
  let version = 0;

  const tell = (type: "ADDED" | "MODIFIED" | "DELETED", path: string, object: Stored): void => {
    changes.emit("change", { type, path, object: structuredClone(object) });
  };
  const save = (path: string, object: Stored): Stored => {
    const known = objects.has(path);
    const metadata = { ...object.metadata, resourceVersion: String(++version) };
    const stored = { ...object, metadata };
    objects.set(path, stored);
    tell(known ? "MODIFIED" : "ADDED", path, stored);
    return structuredClone(stored);
  };
  const remove = (path: string): void => {
    const object = objects.get(path);
    objects.delete(path);
    version++;
    if (object) tell("DELETED", path, object);
  };
  const must = (path: string): Stored => {
    const object = objects.get(path);
    if (!object) throw new Failure("NOT_FOUND", "NotFound", `${path} not found`);
    return object;
  };
  const bare = (path: string): string => path.replace(/\/(status|binding|token)$/, "");
  const matches = (object: Stored, query: Query | undefined): boolean => {
    const selector = query?.fieldSelector;
    if (!selector) return true;
    const [field, value] = String(selector).split("=");
    return field !== "spec.nodeName" || (object as Pod).spec?.nodeName === value;
  };
  const inCollection = (path: string, collection: string): boolean => {
    if (path.startsWith(`${collection}/`)) return true;
    const [root, resource] = [collection.slice(0, collection.lastIndexOf("/")), collection.split("/").at(-1)];
    return new RegExp(`^${root}/namespaces/[^/]+/${resource}/[^/]+$`).test(path);
  };
  const note = (verb: string, path: string): void => void requests.push(`${verb} ${path}`);
  const merge = (path: string, body: object, type: PatchType): Stored => {
    const old = must(bare(path));
    const uid = (body as Stored).metadata?.uid;
    if (uid && uid !== old.metadata?.uid)
      throw new Failure("ABORTED", "Conflict", "the UID in the precondition differs");
    const kind = TYPES[bare(path).split("/").at(-2) ?? ""];
    return (type === "strategic" && kind ? strategicMerge(old, body, kind) : mergePatch(old, body)) as Stored;
  };

  const api: FakeApi = {
    requests,
    mayDo: () => false,
    async get<T>(path: string): Promise<T> {
      note("GET", path);
      return structuredClone(must(path)) as T;
    },
    async list<T>(path: string, query?: Query): Promise<KubeList<T>> {
      note("LIST", path);
      const items = [...objects].filter(([key, object]) => inCollection(key, path) && matches(object, query));
      return {
        metadata: { resourceVersion: String(version) },
        items: items.map(([, object]) => structuredClone(object) as T),
      };
    },
    async *watch<T>(path: string, query?: Query, call?: CallOptions): AsyncGenerator<WatchEvent<T>> {
      const missed = [...objects].filter(
        ([key, object]) =>
          inCollection(key, path) &&
          matches(object, query) &&
          Number(object.metadata?.resourceVersion) > Number(query?.resourceVersion ?? 0),
      );
      const stream = on(changes, "change", call?.signal ? { signal: call.signal } : {});
      for (const [, object] of missed) yield { type: "MODIFIED", object: structuredClone(object) as T };
      for await (const [event] of stream as AsyncIterable<[{ type: "ADDED"; path: string; object: Stored }]>) {
        if (inCollection(event.path, path) && matches(event.object, query))
          yield { type: event.type, object: event.object as T };
      }
    },
    async create<T>(path: string, body: object): Promise<T> {
      if (path.endsWith("subjectaccessreviews")) {
        const { user, resourceAttributes } = (body as AccessReview).spec;
        return { ...body, status: { allowed: api.mayDo(user, resourceAttributes.subresource) } } as T;
      }
      if (path.endsWith("tokenreviews")) {
        const account = /^token-of-(.*)$/.exec((body as { spec: { token: string } }).spec.token)?.[1];
        const user = { username: `system:serviceaccount:default:${account}`, groups: ["system:authenticated"] };
        return {
          ...body,
          status: account === undefined ? { authenticated: false } : { authenticated: true, user },
        } as T;
      }
      note("POST", path);
      const object = body as Stored;
      if (path.endsWith("/binding")) {
        const pod = must(bare(path)) as Pod;
        const nodeName = (body as { target: { name: string } }).target.name;
        return save(bare(path), { ...pod, spec: { ...pod.spec, nodeName } }) as T;
      }
      if (path.endsWith("/token")) {
        const expirationTimestamp = new Date(Date.now() + 3_600_000).toISOString();
        return { ...object, status: { token: `token-of-${path.split("/").at(-2)}`, expirationTimestamp } } as T;
      }
      const key = `${path}/${object.metadata?.name}`;
      if (objects.has(key)) throw new Failure("ALREADY_EXISTS", "AlreadyExists", `${key} already exists`);
      return save(key, { ...object, metadata: { uid: randomUUID(), ...object.metadata } }) as T;
    },
    async update<T>(path: string, body: object): Promise<T> {
      note("PUT", path);
      must(path);
      return save(path, body) as T;
    },
    async patch<T>(path: string, body: object, type: PatchType = "merge"): Promise<T> {
      note("PATCH", path);
      return save(bare(path), merge(path, body, type)) as T;
    },
    async delete<T>(path: string, options?: object): Promise<T> {
      note("DELETE", path);
      const object = must(path);
      const { preconditions } = (options ?? {}) as { preconditions?: { uid?: string } };
      if (preconditions?.uid && preconditions.uid !== object.metadata?.uid)
        throw new Failure("ABORTED", "Conflict", "the UID in the precondition differs");
      remove(path);
      return object as T;
    },
    [Symbol.dispose]() {},

    put<T extends KubeObject>(resource: string, object: T): T {
      const namespace = object.metadata?.namespace;
      const path = `/api/v1/${namespace ? `namespaces/${namespace}/` : ""}${resource}/${object.metadata?.name}`;
      const old = objects.get(path);
      const metadata = { uid: old?.metadata?.uid ?? randomUUID(), generation: 1, ...object.metadata };
      return save(path, { ...old, ...object, metadata }) as T;
    },
    drop(resource, namespace, name, graceSeconds = 30) {
      const path = `/api/v1/${namespace ? `namespaces/${namespace}/` : ""}${resource}/${name}`;
      const object = must(path);
      if (resource !== "pods" || graceSeconds === 0) return remove(path);
      const time = new Date().toISOString();
      const metadata = { ...object.metadata, deletionTimestamp: time, deletionGracePeriodSeconds: graceSeconds };
      save(path, { ...object, metadata });
    },
    read: (resource, namespace, name) =>
      objects.get(`/api/v1/${namespace ? `namespaces/${namespace}/` : ""}${resource}/${name}`),
    events: (pod) =>
      [...objects]
        .filter(([key]) => key.includes("/events/"))
        .map(([, object]) => object as unknown as Event)
        .filter(({ involvedObject }) => involvedObject.name === pod),
    async until<T>(test: () => T | undefined | false, seconds = 10): Promise<T> {
      const stream = on(changes, "change", { signal: AbortSignal.timeout(seconds * 1000) });
      for (let found = test(); ; found = test()) {
        if (found) return found;
        await stream.next();
      }
    },
  };
  return api;
}
