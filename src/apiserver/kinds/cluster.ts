import type { Namespace, Node } from "#k8s";
import { subdomainName } from "../meta.ts";
import { dnsLabelErrors, qualifiedNameErrors } from "../names.ts";
import { AGE, NAME, ageOf, column } from "./columns.ts";
import { validateNode, validateNodeUpdate } from "./node-rules.ts";
import { ALL_VERBS, type AnyObject, type Resource } from "./resource.ts";

export const namespaces: Resource = {
  group: "",
  version: "v1",
  resource: "namespaces",
  singular: "namespace",
  kind: "Namespace",
  type: "v1.Namespace",
  shortNames: ["ns"],
  namespaced: false,
  verbs: ["create", "delete", "get", "list", "patch", "update", "watch"],
  storedAs: "namespaces",
  hasStatus: true,
  generations: false,
  returnsDeleted: true,
  nameErrors: dnsLabelErrors,
  default(object) {
    const { metadata } = object;
    if (metadata.name) metadata.labels = { ...metadata.labels, "kubernetes.io/metadata.name": metadata.name };
  },
  prepareCreate(object) {
    const namespace = object as Namespace;
    const finalizers = namespace.spec?.finalizers ?? [];
    namespace.spec = { finalizers: finalizers.includes("kubernetes") ? finalizers : [...finalizers, "kubernetes"] };
    namespace.status = { phase: "Active" };
  },
  prepareUpdate(object, before) {
    object["spec"] = before["spec"];
    object["status"] = before["status"];
  },
  prepareStatus(object, before) {
    object["spec"] = before["spec"];
  },
  validate(object, errors) {
    const finalizers = (object as Namespace).spec?.finalizers ?? [];
    for (const name of finalizers) errors.invalidAll("spec.finalizers", name, qualifiedNameErrors(name));
  },
  validateStatus(object, _before, errors) {
    const { metadata, status } = object as Namespace;
    const isLeaving = metadata?.deletionTimestamp !== undefined;
    const [phase, when] = isLeaving ? ["Terminating", "not empty"] : ["Active", "empty"];
    if (status?.phase !== phase)
      errors.invalid("status.Phase", status?.phase ?? "", `may only be '${phase}' if \`deletionTimestamp\` is ${when}`);
  },
  fields: (object) => ({ "status.phase": (object as Namespace).status?.phase ?? "" }),
  columns: [NAME, column("Status", "The status of the namespace"), AGE],
  cells(object, now) {
    const { metadata, status } = object as Namespace;
    return [metadata?.name, status?.phase ?? "Active", ageOf(metadata?.creationTimestamp, now)];
  },
};

/** What keeps Pods off a node until it is Ready. */
export const NOT_READY = { key: "node.kubernetes.io/not-ready", effect: "NoSchedule" } as const;

export const nodes: Resource = {
  group: "",
  version: "v1",
  resource: "nodes",
  singular: "node",
  kind: "Node",
  type: "v1.Node",
  shortNames: ["no"],
  namespaced: false,
  verbs: ALL_VERBS,
  storedAs: "nodes",
  hasStatus: true,
  generations: false,
  returnsDeleted: false,
  nameErrors: subdomainName,
  default(object) {
    const { status } = object as Node;
    if (status?.capacity !== undefined && status.allocatable === undefined) status.allocatable = { ...status.capacity };
  },
  prepareCreate(object) {
    const node = object as Node;
    const taints = node.spec?.taints ?? [];
    const has = taints.some((taint) => taint.key === NOT_READY.key && taint.effect === NOT_READY.effect);
    node.spec = { ...node.spec, taints: has ? taints : [...taints, { ...NOT_READY }] };
  },
  prepareUpdate(object, before) {
    object["status"] = before["status"];
  },
  prepareStatus(object, before) {
    object["spec"] = before["spec"];
  },
  validate: (object, errors) => validateNode(object as Node, errors),
  validateUpdate: (object, before, errors) => validateNodeUpdate(object as Node, before as Node, errors),
  validateStatus: (object, before, errors) => validateNodeUpdate(object as Node, before as Node, errors),
  fields: (object) => ({ "spec.unschedulable": String((object as Node).spec?.unschedulable ?? false) }),
  columns: [
    NAME,
    column("Status", "The status of the node"),
    column("Roles", "The roles of the node"),
    AGE,
    column("Version", "Kubelet Version reported by the node."),
    column("Internal-IP", "List of addresses reachable to the node. Queried from cloud provider, if available.", 1),
    column("External-IP", "List of addresses reachable to the node. Queried from cloud provider, if available.", 1),
    column("OS-Image", "OS Image reported by the node from /etc/os-release (e.g. Debian GNU/Linux 7 (wheezy)).", 1),
    column("Kernel-Version", "Kernel Version reported by the node from 'uname -r' (e.g. 3.16.0-0.bpo.4-amd64).", 1),
    column(
      "Container-Runtime",
      "ContainerRuntime Version reported by the node through runtime remote API (e.g. containerd://1.4.2).",
      1,
    ),
  ],
  cells(object, now) {
    const { metadata, spec, status } = object as Node;
    const ready = status?.conditions?.find((condition) => condition.type === "Ready");
    const state = [ready === undefined ? "Unknown" : ready.status === "True" ? "Ready" : "NotReady"];
    if (spec?.unschedulable === true) state.push("SchedulingDisabled");
    const roles = Object.entries(metadata?.labels ?? {})
      .flatMap(([key, value]) =>
        key.startsWith("node-role.kubernetes.io/")
          ? [key.slice("node-role.kubernetes.io/".length)]
          : key === "kubernetes.io/role" && value !== ""
            ? [value]
            : [],
      )
      .filter((role) => role !== "")
      .sort();
    const address = (type: string): string => status?.addresses?.find((a) => a.type === type)?.address ?? "<none>";
    const info = status?.nodeInfo;
    return [
      metadata?.name,
      state.join(","),
      roles.length === 0 ? "<none>" : roles.join(","),
      ageOf(metadata?.creationTimestamp, now),
      info?.kubeletVersion ?? "",
      address("InternalIP"),
      address("ExternalIP"),
      info?.osImage || "<unknown>",
      info?.kernelVersion || "<unknown>",
      info?.containerRuntimeVersion || "<unknown>",
    ];
  },
};

interface LeaseSpec {
  holderIdentity?: string;
  leaseDurationSeconds?: number;
  leaseTransitions?: number;
  strategy?: string;
  preferredHolder?: string;
}

export const leases: Resource = {
  group: "coordination.k8s.io",
  version: "v1",
  resource: "leases",
  singular: "lease",
  kind: "Lease",
  type: "coordination.Lease",
  namespaced: true,
  verbs: ALL_VERBS,
  storedAs: "leases.coordination.k8s.io",
  hasStatus: false,
  generations: false,
  returnsDeleted: false,
  createsOnUpdate: true,
  needsVersion: true,
  nameErrors: subdomainName,
  validate(object, errors) {
    const spec = object["spec"] as LeaseSpec | undefined;
    if (spec?.leaseDurationSeconds !== undefined && spec.leaseDurationSeconds <= 0)
      errors.invalid("spec.leaseDurationSeconds", spec.leaseDurationSeconds, "must be greater than 0");
    if (spec?.leaseTransitions !== undefined && spec.leaseTransitions < 0)
      errors.invalid("spec.leaseTransitions", spec.leaseTransitions, "must be greater than or equal to 0");
    if (spec?.preferredHolder && !spec.strategy)
      errors.forbidden("spec.preferredHolder", "may only be specified if `strategy` is defined");
  },
  columns: [NAME, column("Holder", "holderIdentity contains the identity of the holder of a current lease."), AGE],
  cells(object, now) {
    const spec = (object as AnyObject)["spec"] as LeaseSpec | undefined;
    return [object.metadata?.name, spec?.holderIdentity ?? "", ageOf(object.metadata?.creationTimestamp, now)];
  },
};
