import { messageOf, type Log } from "#base";
import { Collector } from "./collector.ts";
import { forgetEvents } from "./event-expiry.ts";
import { configMaps, serviceAccounts } from "./kinds/config.ts";
import type { Resource } from "./kinds/resource.ts";
import { emptyNamespace, ensureAccount, ensureRootCa, makeFirstNamespaces } from "./namespace-upkeep.ts";
import { NodeMonitor, taintNode } from "./node-lifecycle.ts";
import type { Objects } from "./objects.ts";
import { Orphans } from "./orphans.ts";
import { ROOT_CA } from "./pods/api-access.ts";
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

/**
 * What Kubernetes' controllers do for every cluster: the first namespaces, what is in each of them from the start (a service
 * account, and `rootCa`, the certificate in PEM of the authority that signs for the API server, where there is one), the end
 * of a namespace, of what a deleted object alone owned, of Pods whose node is gone or whose taints they do not bear, and of
 * old events; the taints of nodes that are cordoned, not Ready or silent. Disposing it stops that.
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

  const account = (namespace: string): void => ensureAccount(objects, namespace);
  const authority = (namespace: string): void => {
    if (rootCa !== undefined) ensureRootCa(objects, namespace, rootCa);
  };
  const empty = (namespace: string): void => emptyNamespace(objects, inside, namespace);
  const owning = resources.filter((resource) => resource.storedAs !== "events");
  const collector = new Collector(objects, owning, () => later("collecting what nobody owns", () => collector.run()));
  const forget = (): void => safely("forgetting old events", () => forgetEvents(objects));

  makeFirstNamespaces(objects);
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
