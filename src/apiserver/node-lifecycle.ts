import { jsonEqual, timestamp, type KubeObject, type Node, type Pod, type Taint } from "#k8s";
import { nodes, NOT_READY } from "./kinds/cluster.ts";
import { events } from "./kinds/event.ts";
import { pods } from "./kinds/pod.ts";
import type { AnyObject } from "./kinds/resource.ts";
import type { Objects } from "./objects.ts";

type Condition = NonNullable<NonNullable<Node["status"]>["conditions"]>[number];

const UNREACHABLE = "node.kubernetes.io/unreachable";
/** The taints that are set and taken off here. */
const OURS: readonly Taint[] = [
  NOT_READY,
  { key: NOT_READY.key, effect: "NoExecute" },
  { key: UNREACHABLE, effect: "NoSchedule" },
  { key: UNREACHABLE, effect: "NoExecute" },
  { key: "node.kubernetes.io/unschedulable", effect: "NoSchedule" },
  { key: "node.kubernetes.io/memory-pressure", effect: "NoSchedule" },
  { key: "node.kubernetes.io/disk-pressure", effect: "NoSchedule" },
  { key: "node.kubernetes.io/pid-pressure", effect: "NoSchedule" },
];
const PRESSURES: Readonly<Record<string, string>> = {
  "node.kubernetes.io/memory-pressure": "MemoryPressure",
  "node.kubernetes.io/disk-pressure": "DiskPressure",
  "node.kubernetes.io/pid-pressure": "PIDPressure",
};
/** The conditions that a kubelet posts. */
const POSTED = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];
const NOT_READY_EVENT = "NodeNotReady";
const CONTROLLER = "node-controller";
const LEASES = "kube-node-lease";

const same = (a: Taint, b: Taint): boolean => a.key === b.key && a.effect === b.effect;
const conditionOf = (object: KubeObject | undefined, type: string): Condition | undefined =>
  (object as Node | undefined)?.status?.conditions?.find((condition) => condition.type === type);

/** Sets the taints that say of a node what its conditions and its spec say, and takes off those that say it no more. */
export function taintNode(objects: Objects, name: string): void {
  const stored = objects.storage.get("nodes", "", name);
  if (stored === undefined) return;
  const node = structuredClone(stored.object) as Node;
  const ready = conditionOf(node, "Ready")?.status;
  const wanted = OURS.filter(({ key, effect }) => {
    // Nothing is chased off a node that has said nothing yet.
    if (key === NOT_READY.key) return ready === "False" || (ready === undefined && effect === "NoSchedule");
    const pressure = PRESSURES[key];
    if (pressure !== undefined) return conditionOf(node, pressure)?.status === "True";
    return key === UNREACHABLE ? ready === "Unknown" : node.spec?.unschedulable === true;
  });
  const before = node.spec?.taints ?? [];
  const kept = before.filter(
    (taint) => !OURS.some((one) => same(one, taint)) || wanted.some((one) => same(one, taint)),
  );
  const added = wanted.filter((taint) => !before.some((one) => same(one, taint)));
  const { taints: _, ...spec } = node.spec ?? {};
  const taints = [...kept, ...added.map((taint) => ({ ...taint, timeAdded: timestamp() }))];
  if (jsonEqual(taints, before)) return;
  node.spec = taints.length === 0 ? spec : { ...spec, taints };
  objects.put(nodes, "", name, node as AnyObject);
}

/**
 * Which kubelets are alive. A node whose Lease is not renewed and whose status is not posted for a grace period (in
 * milliseconds; half as long again where none was posted yet) gets the status Unknown for all that a kubelet posts, and its
 * Pods are not ready any more; events say so. Its kubelet undoes that once it is back.
 */
export class NodeMonitor {
  readonly #objects: Objects;
  readonly #grace: number;
  /** When each node was last heard of, on a clock that stands still while the machine sleeps. */
  readonly #heard = new Map<string, number>();
  readonly #stops: readonly (() => void)[];
  #looked = performance.now();

  constructor(objects: Objects, grace: number) {
    this.#objects = objects;
    this.#grace = grace;
    const { storage } = objects;
    // Nothing was heard while no server ran.
    for (const { name } of storage.list("nodes")) this.#hear(name);
    this.#stops = [
      storage.listen("nodes", ({ type, stored, before }) => {
        if (type === "DELETED") this.#heard.delete(stored.name);
        else if (type === "ADDED" || posted(stored.object) !== posted(before?.object)) this.#hear(stored.name);
      }),
      storage.listen("leases.coordination.k8s.io", ({ type, stored }) => {
        if (type !== "DELETED" && stored.namespace === LEASES) this.#hear(stored.name);
      }),
    ];
  }

  /** To be called about every `period` milliseconds. */
  look(period: number): void {
    const now = performance.now();
    // What could not look could not hear either.
    const late = now - this.#looked - period;
    this.#looked = now;
    if (late > period) for (const [name, at] of this.#heard) this.#heard.set(name, at + late);
    for (const { name, object } of this.#objects.storage.list("nodes")) {
      const silent = now - (this.#heard.get(name) ?? now);
      const grace = conditionOf(object, "Ready") === undefined ? this.#grace * 1.5 : this.#grace;
      if (silent > grace) this.#lose(name, object as Node);
    }
  }

  stop(): void {
    for (const stop of this.#stops) stop();
  }

  #hear(name: string): void {
    this.#heard.set(name, performance.now());
  }

  #lose(name: string, stored: Node): void {
    const now = timestamp();
    const lost = conditionOf(stored, "Ready")?.status !== "Unknown";
    const created = stored.metadata?.creationTimestamp ?? now;
    const unknown = { status: "Unknown", lastTransitionTime: now };
    const never = { reason: "NodeStatusNeverUpdated", message: "Kubelet never posted node status." };
    const stopped = { reason: "NodeStatusUnknown", message: "Kubelet stopped posting node status." };
    const conditions = (stored.status?.conditions ?? []).map((condition) =>
      POSTED.includes(condition.type) && condition.status !== "Unknown"
        ? { ...condition, ...unknown, ...stopped }
        : condition,
    );
    for (const type of POSTED)
      if (!conditions.some((condition) => condition.type === type))
        conditions.push({ type, ...unknown, ...never, lastHeartbeatTime: created });
    if (!jsonEqual(conditions, stored.status?.conditions))
      this.#objects.put(nodes, "", name, withStatus(stored, { conditions }));
    if (!lost) return;
    const message = `Node ${name} status is now: ${NOT_READY_EVENT}`;
    this.#tell("Normal", message, { kind: "Node", name, uid: stored.metadata?.uid });
    this.#unready(name, now);
  }

  #unready(node: string, now: string): void {
    for (const { namespace, name, object } of this.#objects.storage.list("pods")) {
      const pod = object as Pod;
      const { conditions = [] } = pod.status ?? {};
      const ready = conditions.some(({ type, status }) => type === "Ready" && status !== "False");
      if (pod.spec?.nodeName !== node || !ready) continue;
      const unready = conditions.map((condition) =>
        condition.type === "Ready" ? { ...condition, status: "False", lastTransitionTime: now } : condition,
      );
      this.#objects.put(pods, namespace, name, withStatus(pod, { conditions: unready }));
      const about = { kind: "Pod", namespace, name, uid: pod.metadata?.uid };
      this.#tell("Warning", "Node is not ready", about);
    }
  }

  #tell(type: string, message: string, about: About): void {
    tellOf(this.#objects, about, { type, message, reason: NOT_READY_EVENT, component: CONTROLLER });
  }
}

/** What an event is about. */
interface About {
  readonly name: string;
  readonly namespace?: string;
  readonly [field: string]: unknown;
}

/** Records an event of a controller. */
export function tellOf(
  objects: Objects,
  about: About,
  { type, reason, message, component }: Record<"type" | "reason" | "message" | "component", string>,
): void {
  const { namespace = "default" } = about;
  // A namespace that ends takes nothing new.
  if (objects.storage.get("namespaces", "", namespace)?.object.metadata?.deletionTimestamp !== undefined) return;
  const now = timestamp();
  const event = {
    metadata: { name: `${about.name}.${Date.now().toString(16)}` },
    involvedObject: { apiVersion: "v1", ...about },
    reason,
    message,
    type,
    source: { component },
    reportingComponent: component,
    firstTimestamp: now,
    lastTimestamp: now,
    count: 1,
  };
  objects.create(events, namespace, event, { dryRun: false });
}

const posted = (node: KubeObject | undefined): unknown => conditionOf(node, "Ready")?.lastHeartbeatTime;

/** A copy of an object with some of its status replaced. */
export function withStatus(object: KubeObject & { readonly status?: object }, status: object): AnyObject {
  return { ...structuredClone(object), status: { ...object.status, ...status } } as AnyObject;
}
