import type { Log } from "#base";
import { messageOf } from "#base";
import type { Namespace, Node } from "#k8s";
import { serviceAccounts } from "./kinds/config.ts";
import { namespaces, nodes, NOT_READY } from "./kinds/cluster.ts";
import type { AnyObject, Resource } from "./kinds/resource.ts";
import type { Objects } from "./objects.ts";
import type { Change } from "./storage.ts";

const FIRST = ["default", "kube-system", "kube-public", "kube-node-lease"];

/**
 * What Kubernetes' controllers do for every cluster: the four first namespaces, a `default` service account in each one, the
 * taint of a node that is not Ready, and the end of a namespace once all in it is gone. Disposing it stops that.
 */
export function keepHouse(objects: Objects, resources: readonly Resource[], log: Log): Disposable {
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
  const orphans = (change: Change): void => {
    if (change.type !== "DELETED") return;
    const { uid } = change.stored.object.metadata ?? {};
    for (const resource of inside)
      for (const { name, namespace, object } of storage.list(resource.storedAs, change.stored.namespace)) {
        const owners = object.metadata?.ownerReferences ?? [];
        if (
          owners.length > 0 &&
          owners.every((owner) => owner.uid === uid) &&
          object.metadata?.deletionTimestamp === undefined
        )
          objects.delete(resource, namespace, name, {});
      }
  };

  const taint = (name: string): void => {
    const stored = storage.get("nodes", "", name);
    if (stored === undefined) return;
    const node = structuredClone(stored.object) as Node;
    const ready = node.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") === true;
    const taints = node.spec?.taints ?? [];
    const others = taints.filter(({ key, effect }) => key !== NOT_READY.key || effect !== NOT_READY.effect);
    if (ready === (taints.length === others.length)) return;
    const { taints: _, ...spec } = node.spec ?? {};
    const next = ready ? others : [...others, { ...NOT_READY }];
    node.spec = next.length === 0 ? spec : { ...spec, taints: next };
    objects.put(nodes, "", name, node as AnyObject);
  };

  for (const name of FIRST)
    if (storage.get("namespaces", "", name) === undefined)
      objects.create(namespaces, "", { metadata: { name } }, { dryRun: false });
  const stops = [
    storage.listen("namespaces", ({ type, stored }) => {
      if (type === "ADDED") later("creating a default service account", () => account(stored.name));
      else if (type === "MODIFIED") later("ending a namespace", () => empty(stored.name));
    }),
    storage.listen("nodes", ({ type, stored }) => {
      if (type !== "DELETED") later("tainting a node", () => taint(stored.name));
    }),
    ...inside.map((resource) =>
      storage.listen(resource.storedAs, (change) => {
        if (change.type !== "DELETED") return;
        const { namespace, name } = change.stored;
        later("ending a namespace", () => empty(namespace));
        later("deleting what an object owned", () => orphans(change));
        if (resource === serviceAccounts && name === "default")
          later("creating a default service account", () => account(namespace));
      }),
    ),
  ];
  for (const { name } of storage.list("nodes")) safely("tainting a node", () => taint(name));
  for (const { name } of storage.list("namespaces")) {
    safely("creating a default service account", () => account(name));
    safely("ending a namespace", () => empty(name));
  }
  return {
    [Symbol.dispose]() {
      stopped = true;
      for (const stop of stops) stop();
    },
  };
}
