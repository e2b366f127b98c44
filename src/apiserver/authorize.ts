import type { Pod, ServiceAccount } from "#k8s";
import type { Access, User } from "./router.ts";
import type { AnyObject } from "./kinds/resource.ts";
import { StatusError, forbidden, type ResourceName } from "./status.ts";
import type { Storage } from "./storage.ts";

export interface Decision {
  readonly allowed: boolean;
  readonly reason?: string;
}

type ResourceAccess = Extract<Access, { kind: "resource" }>;

const READ = ["get", "list", "watch"];
const WRITE = ["create", "update", "patch", "delete"];
const OPEN_PATHS = ["/healthz", "/livez", "/readyz", "/version"];
const DISCOVERY = ["/api", "/apis", "/openapi"];
const yes: Decision = { allowed: true };
const no: Decision = { allowed: false };

const under = (path: string, roots: readonly string[]): boolean =>
  roots.some((root) => path === root || path.startsWith(`${root}/`));

/**
 * Who may do what. It has the shape of RBAC with a fixed set of roles: administrators everything; a node its own Pods, its own
 * Node and Lease, events, and what its Pods name; the scheduler Pods and bindings; everyone who is known may discover and ask
 * about themselves; a service account nothing more; an unknown one health and version.
 */
export function authorize(user: User, access: Access, storage: Storage): Decision {
  if (user.groups.includes("system:masters")) return yes;
  if (access.kind === "path") {
    if (access.verb === "get" && under(access.path, OPEN_PATHS)) return yes;
    const known = user.groups.includes("system:authenticated");
    const wellKnown = ["/openid/v1/jwks", "/.well-known/openid-configuration"].includes(access.path);
    const accounts = user.groups.includes("system:serviceaccounts");
    if (known && access.verb === "get" && under(access.path, DISCOVERY)) return yes;
    return accounts && wellKnown && access.verb === "get" ? yes : no;
  }
  const { group, resource, verb } = access;
  if (verb === "create" && user.groups.includes("system:authenticated")) {
    if (group === "authorization.k8s.io" && resource.startsWith("selfsubject")) return yes;
    if (group === "authentication.k8s.io" && resource === "selfsubjectreviews") return yes;
  }
  if (user.name.startsWith("system:node:") && user.groups.includes("system:nodes"))
    return node(user.name.slice("system:node:".length), access, storage);
  if (user.name === "system:kube-scheduler") return scheduler(access);
  return no;
}

function scheduler({ group, resource, subresource = "", verb }: ResourceAccess): Decision {
  const what = subresource === "" ? resource : `${resource}/${subresource}`;
  if (["pods", "nodes", "namespaces"].includes(what) && READ.includes(verb)) return yes;
  if ((what === "pods/binding" || what === "bindings") && verb === "create") return yes;
  if (what === "pods/status" && ["update", "patch"].includes(verb)) return yes;
  if (what === "pods" && verb === "delete") return yes;
  if (what === "events" && [...WRITE, "get", "list"].includes(verb)) return yes;
  return group === "coordination.k8s.io" && [...READ, ...WRITE].includes(verb) ? yes : no;
}

function node(name: string, access: ResourceAccess, storage: Storage): Decision {
  const { group, resource, subresource = "", verb, namespace = "" } = access;
  const what = subresource === "" ? resource : `${resource}/${subresource}`;
  const ownName = access.name === name;
  if (group === "coordination.k8s.io" && resource === "leases")
    return namespace === "kube-node-lease" && (ownName || verb === "create") ? yes : no;
  if (resource === "events" && (group === "" || group === "events.k8s.io"))
    return ["create", "update", "patch"].includes(verb) ? yes : no;
  if (group === "authentication.k8s.io" && resource === "tokenreviews") return verb === "create" ? yes : no;
  if (group === "authorization.k8s.io" && resource === "subjectaccessreviews") return verb === "create" ? yes : no;
  if (group === "node.k8s.io" && resource === "runtimeclasses") return READ.includes(verb) ? yes : no;
  if (group !== "") return no;
  const pods = (): Pod[] =>
    storage
      .list("pods", namespace)
      .map((stored) => stored.object as Pod)
      .filter((pod) => pod.spec?.nodeName === name);
  const hasNamed = (): boolean => {
    const pod = storage.get("pods", namespace, access.name ?? "")?.object as Pod | undefined;
    return pod?.spec?.nodeName === name;
  };
  switch (what) {
    case "nodes":
      if (verb === "create") return yes;
      return READ.includes(verb) || (ownName && ["update", "patch"].includes(verb)) ? yes : no;
    case "nodes/status":
      return ownName && ["get", "update", "patch"].includes(verb) ? yes : no;
    case "namespaces":
    case "services":
      return READ.includes(verb) ? yes : no;
    case "pods":
      if (verb === "create") return yes;
      if (verb === "list" || verb === "watch")
        return (access.fieldSelector ?? "").split(",").includes(`spec.nodeName=${name}`)
          ? yes
          : { allowed: false, reason: `can only list/watch pods with spec.nodeName field selector` };
      if (verb === "get" && storage.get("pods", namespace, access.name ?? "") === undefined) return yes;
      return (verb === "get" || verb === "delete") && hasNamed() ? yes : no;
    case "pods/status":
    case "pods/eviction":
      return hasNamed() ? yes : no;
    case "serviceaccounts/token":
      return verb === "create" && pods().some((pod) => (pod.spec?.serviceAccountName ?? "default") === access.name)
        ? yes
        : no;
    case "serviceaccounts":
      return verb === "get" && pods().some((pod) => (pod.spec?.serviceAccountName ?? "default") === access.name)
        ? yes
        : no;
    case "secrets":
    case "configmaps": {
      if (!READ.includes(verb) || access.name === undefined) return no;
      const goal = access.name;
      const named = pods().some((pod) => namesOf(pod, what, storage).has(goal));
      return named ? yes : { allowed: false, reason: `no relationship found between node '${name}' and this object` };
    }
    default:
      return no;
  }
}

/** What a node may create is known only once the object is read: mirrors of its own Pods, itself, and its own lease. */
export function restrictNode(user: User, resource: ResourceName, object: AnyObject): void {
  if (!user.name.startsWith("system:node:") || !user.groups.includes("system:nodes")) return;
  const node = user.name.slice("system:node:".length);
  const name = object.metadata.name ?? "";
  if (resource.resource === "pods") {
    const { metadata, spec } = object as Pod;
    if (metadata?.annotations?.["kubernetes.io/config.mirror"] === undefined)
      throw forbidden(
        resource,
        name,
        `pod does not have "kubernetes.io/config.mirror" annotation, node "${node}" can only create mirror pods`,
      );
    if (spec?.nodeName !== node)
      throw forbidden(resource, name, `node "${node}" can only create pods with spec.nodeName set to itself`);
  }
  if (resource.resource === "nodes" && name !== node)
    throw forbidden(resource, name, `node "${node}" is not allowed to modify node "${name}"`);
  if (resource.resource === "leases" && name !== node)
    throw forbidden(resource, name, "can only access leases with the same name as the requesting node");
}

/** The secrets or config maps a Pod names, itself or through its service account's pull secrets. */
export function namesOf(pod: Pod, what: "secrets" | "configmaps", storage: Storage): Set<string> {
  const found = new Set<string>();
  const add = (name: string | undefined): void => void (name && found.add(name));
  const secret = what === "secrets";
  const { spec, metadata } = pod;
  for (const volume of spec?.volumes ?? []) {
    add(secret ? volume.secret?.secretName : volume.configMap?.name);
    for (const source of volume.projected?.sources ?? []) add(secret ? source.secret?.name : source.configMap?.name);
    if (secret) add(volume.csi?.nodePublishSecretRef?.name);
  }
  const containers = [
    ...(spec?.initContainers ?? []),
    ...(spec?.containers ?? []),
    ...(spec?.ephemeralContainers ?? []),
  ];
  for (const container of containers) {
    for (const env of container.env ?? [])
      add(secret ? env.valueFrom?.secretKeyRef?.name : env.valueFrom?.configMapKeyRef?.name);
    for (const from of container.envFrom ?? []) add(secret ? from.secretRef?.name : from.configMapRef?.name);
  }
  if (secret) {
    for (const reference of spec?.imagePullSecrets ?? []) add(reference.name);
    const account = storage.get("serviceaccounts", metadata?.namespace ?? "", spec?.serviceAccountName || "default");
    for (const reference of (account?.object as ServiceAccount | undefined)?.imagePullSecrets ?? [])
      add(reference.name);
  }
  return found;
}

/** The 403 that says who may not do what. */
export function denied(user: User, access: Access, reason = ""): StatusError {
  const who = `User ${JSON.stringify(user.name)}`;
  const tail = reason === "" ? "" : `: ${reason}`;
  if (access.kind === "path")
    return new StatusError(
      403,
      "Forbidden",
      `forbidden: ${who} cannot ${access.verb} path ${JSON.stringify(access.path)}${tail}`,
      {},
    );
  const { group, resource, subresource, verb, namespace, name } = access;
  const plain = group === "" ? resource : `${resource}.${group}`;
  const what = name ? `${plain} ${JSON.stringify(name)}` : plain;
  const asked = subresource === undefined ? resource : `${resource}/${subresource}`;
  const where = namespace ? ` in the namespace ${JSON.stringify(namespace)}` : " at the cluster scope";
  return new StatusError(
    403,
    "Forbidden",
    `${what} is forbidden: ${who} cannot ${verb} resource ${JSON.stringify(asked)} in API group ${JSON.stringify(group)}${where}${tail}`,
    { ...(name ? { name } : {}), ...(group === "" ? {} : { group }), kind: resource },
  );
}
