import type { Log } from "#base";
import { messageOf } from "#base";
import { jsonEqual, type ConfigMap, type Namespace } from "#k8s";
import { Collector } from "./collector.ts";
import { forgetEvents } from "./garbage.ts";
import { configMaps, serviceAccounts } from "./kinds/config.ts";
import { namespaces } from "./kinds/cluster.ts";
import type { AnyObject, Resource } from "./kinds/resource.ts";
import { NodeMonitor, taintNode } from "./node-lifecycle.ts";
import type { Objects } from "./objects.ts";
import { ROOT_CA } from "./pods/api-access.ts";
import { Orphans } from "./orphans.ts";
import { TaintEviction } from "./taint-eviction.ts";

/** How long what is silent is waited for, in milliseconds. */
export interface Patience {
  /** A node whose kubelet says nothing. */
  readonly node: number;
  /** A node that Pods are bound to and that is not there. */
  readonly missingNode: number;
}

const SWEEP_EVERY = 5 * 60 * 1000;
/** Nodes are looked at so many times while one is waited for. */
const LOOKS = 8;
const rootCaMap = (data: Readonly<Record<string, string>>) => ({
  metadata: {
    name: ROOT_CA,
    annotations: {
      "kubernetes.io/description":
        "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.",
    },
  },
  data,
});
const FIRST = ["default", "kube-system", "kube-public", "kube-node-lease"];

/**
 * What Kubernetes' controllers do for every cluster: the four first namespaces, a `default` service account in each one and
 * the certificate of the authority (`rootCa`, PEM) that signs for the API server, where there is one, the taints of a node that is not Ready or cordoned, the loss of a node that is silent, of Pods that do not bear its taints, the end of a namespace once all in it is gone, of
 * what a deleted object alone owned, of Pods whose node is gone, and of old events. Disposing it stops that.
 */
export function keepHouse(
  objects: Objects,
  resources: readonly Resource[],
  patience: Patience,
  log: Log,
  rootCa?: string,
): Disposable {
  const { storage } = objects;
  const inside = resources.filter((resource) => resource.namespaced && resource.fromStored === undefined);
  let stopped = false;
  const safely = (what: string, run: () => void): void => {
    if (stopped) return;
    try {
      run();
    } catch (error) {
      log.warn({ error: messageOf(error) }, `${what} failed`);
    }
  };
  const later = (what: string, run: () => void): void => void setImmediate(() => safely(what, run));

  const account = (namespace: string): void => {
    const stored = storage.get("namespaces", "", namespace);
    if (stored === undefined || stored.object.metadata?.deletionTimestamp !== undefined) return;
    if (storage.get("serviceaccounts", namespace, "default") !== undefined) return;
    objects.create(serviceAccounts, namespace, { metadata: { name: "default" } }, { dryRun: false });
  };
  const authority = (namespace: string): void => {
    const stored = storage.get("namespaces", "", namespace);
    if (rootCa === undefined || stored?.object.metadata === undefined) return;
    if (stored.object.metadata.deletionTimestamp !== undefined) return;
    const data = { "ca.crt": rootCa };
    const known = storage.get("configmaps", namespace, ROOT_CA)?.object as ConfigMap | undefined;
    if (jsonEqual(known?.data, data)) return;
    if (known === undefined) objects.create(configMaps, namespace, rootCaMap(data), { dryRun: false });
    else objects.put(configMaps, namespace, ROOT_CA, { ...structuredClone(known), data } as unknown as AnyObject);
  };
  const empty = (namespace: string): void => {
    const stored = storage.get("namespaces", "", namespace);
    if (stored?.object.metadata?.deletionTimestamp === undefined) return;
    let left = 0;
    for (const resource of inside)
      for (const { name, object } of storage.list(resource.storedAs, namespace)) {
        if (object.metadata?.deletionTimestamp === undefined) {
          const { gone } = objects.delete(resource, namespace, name, {});
          if (gone) continue;
        }
        left++;
      }
    const { spec } = stored.object as Namespace;
    const others = (spec?.finalizers ?? []).filter((finalizer) => finalizer !== "kubernetes");
    if (left > 0) return;
    if (others.length === 0 && (stored.object.metadata.finalizers ?? []).length === 0) {
      objects.remove(namespaces, "", namespace);
      return;
    }
    if (others.length === (spec?.finalizers ?? []).length) return;
    const next = structuredClone(stored.object) as AnyObject;
    next["spec"] = { finalizers: others };
    objects.put(namespaces, "", namespace, next);
  };
  const owning = resources.filter((resource) => resource.storedAs !== "events");
  const collector = new Collector(objects, owning, () => later("collecting what nobody owns", () => collector.run()));
  const forget = (): void => safely("forgetting old events", () => forgetEvents(objects));

  for (const name of FIRST)
    if (storage.get("namespaces", "", name) === undefined)
      objects.create(namespaces, "", { metadata: { name } }, { dryRun: false });
  const stops = [
    storage.listen("namespaces", ({ type, stored }) => {
      if (type === "ADDED") {
        later("creating a default service account", () => account(stored.name));
        later("telling of the authority", () => authority(stored.name));
      } else if (type === "MODIFIED") later("ending a namespace", () => empty(stored.name));
    }),
    storage.listen("nodes", ({ type, stored }) => {
      if (type !== "DELETED") later("tainting a node", () => taintNode(objects, stored.name));
    }),
    ...inside.map((resource) =>
      storage.listen(resource.storedAs, ({ type, stored }) => {
        if (type !== "DELETED") return;
        const { namespace, name } = stored;
        later("ending a namespace", () => empty(namespace));
        if (resource === serviceAccounts && name === "default")
          later("creating a default service account", () => account(namespace));
        if (resource === configMaps && name === ROOT_CA) later("telling of the authority", () => authority(namespace));
      }),
    ),
    ...owning.map((resource) => storage.listen(resource.storedAs, (change) => collector.see(resource, change))),
  ];
  for (const { name } of storage.list("nodes")) safely("tainting a node", () => taintNode(objects, name));
  for (const resource of owning) for (const stored of storage.list(resource.storedAs)) collector.add(resource, stored);
  forget();
  const monitor = new NodeMonitor(objects, patience.node);
  const eviction = new TaintEviction(objects, (evict) => later("evicting a Pod", evict));
  const orphans = new Orphans(objects, patience.missingNode);
  const lookEvery = patience.node / LOOKS;
  const timers = [
    setInterval(forget, SWEEP_EVERY),
    setInterval(() => safely("looking after nodes", () => monitor.look(lookEvery)), lookEvery),
    setInterval(() => safely("removing Pods whose node is gone", () => orphans.sweep()), patience.missingNode / 2),
  ].map((timer) => timer.unref());
  for (const { name } of storage.list("namespaces")) {
    safely("creating a default service account", () => account(name));
    safely("telling of the authority", () => authority(name));
    safely("ending a namespace", () => empty(name));
  }
  return {
    [Symbol.dispose]() {
      stopped = true;
      for (const timer of timers) clearInterval(timer);
      monitor.stop();
      eviction[Symbol.dispose]();
      for (const stop of stops) stop();
    },
  };
}
