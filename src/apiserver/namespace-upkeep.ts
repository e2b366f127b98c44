import { jsonEqual, type ConfigMap, type Namespace } from "#k8s";
import { namespaces } from "./kinds/cluster.ts";
import { configMaps, serviceAccounts } from "./kinds/config.ts";
import type { AnyObject, Resource } from "./kinds/resource.ts";
import type { Objects } from "./objects.ts";
import { ROOT_CA } from "./pods/api-access.ts";

const FIRST = ["default", "kube-system", "kube-public", "kube-node-lease"];

/** Makes the namespaces that every cluster has. */
export function makeFirstNamespaces(objects: Objects): void {
  for (const name of FIRST)
    if (objects.storage.get("namespaces", "", name) === undefined)
      objects.create(namespaces, "", { metadata: { name } }, { dryRun: false });
}

function isThere({ storage }: Objects, namespace: string): boolean {
  const stored = storage.get("namespaces", "", namespace);
  return stored !== undefined && stored.object.metadata?.deletionTimestamp === undefined;
}

/** Sees to it that a namespace has its `default` service account. */
export function ensureAccount(objects: Objects, namespace: string): void {
  if (!isThere(objects, namespace)) return;
  if (objects.storage.get("serviceaccounts", namespace, "default") !== undefined) return;
  objects.create(serviceAccounts, namespace, { metadata: { name: "default" } }, { dryRun: false });
}

/** Sees to it that a namespace holds the certificate of the authority (PEM) that signs for the API server. */
export function ensureRootCa(objects: Objects, namespace: string, rootCa: string): void {
  if (!isThere(objects, namespace)) return;
  const data = { "ca.crt": rootCa };
  const known = objects.storage.get("configmaps", namespace, ROOT_CA)?.object as ConfigMap | undefined;
  if (jsonEqual(known?.data, data)) return;
  if (known === undefined) objects.create(configMaps, namespace, rootCaMap(data), { dryRun: false });
  else objects.put(configMaps, namespace, ROOT_CA, { ...structuredClone(known), data } as unknown as AnyObject);
}

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

/** Deletes what is in a namespace that is to go, and the namespace itself once nothing holds it any more. */
export function emptyNamespace(objects: Objects, inside: readonly Resource[], namespace: string): void {
  const { storage } = objects;
  const stored = storage.get("namespaces", "", namespace);
  if (stored?.object.metadata?.deletionTimestamp === undefined) return;
  let left = 0;
  for (const resource of inside)
    for (const { name, object } of storage.list(resource.storedAs, namespace)) {
      const isGoing = object.metadata?.deletionTimestamp !== undefined;
      if (isGoing || !objects.delete(resource, namespace, name, {}).gone) left++;
    }
  if (left > 0) return;
  const { finalizers = [] } = (stored.object as Namespace).spec ?? {};
  const others = finalizers.filter((finalizer) => finalizer !== "kubernetes");
  if (others.length === 0 && (stored.object.metadata.finalizers ?? []).length === 0) {
    objects.remove(namespaces, "", namespace);
    return;
  }
  if (others.length === finalizers.length) return;
  const next = structuredClone(stored.object) as AnyObject;
  next["spec"] = { finalizers: others };
  objects.put(namespaces, "", namespace, next);
}
