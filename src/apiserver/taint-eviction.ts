import { jsonEqual, timestamp, tolerates, withCondition, type Node, type Pod, type Taint } from "#k8s";
import { pods } from "./kinds/pod.ts";
import { tellOf, withStatus } from "./node-lifecycle.ts";
import type { Objects } from "./objects.ts";
import type { Stored } from "./storage.ts";

const CONTROLLER = "taint-eviction-controller";
const EVENT = "TaintManagerEviction";
/** A timer cannot wait longer, in milliseconds; a Pod that may wait for weeks is not waited for. */
const LONGEST = 2 ** 31 - 1;

interface Eviction {
  readonly uid: string | undefined;
  readonly timer: NodeJS.Timeout;
  /** When it began to be waited for, and when that ends; on a clock that stands still while the machine sleeps. */
  readonly from: number;
  readonly until: number;
}

/** Deletes the Pods that do not tolerate a `NoExecute` taint of their node, or no longer, as Kubernetes' taint manager does. */
export class TaintEviction implements Disposable {
  readonly #objects: Objects;
  readonly #evictions = new Map<string, Eviction>();
  readonly #stops: readonly (() => void)[];
  readonly #run: (evict: () => void) => void;

  /** `run` carries out what is due; it must not do so at once. */
  constructor(objects: Objects, run: (evict: () => void) => void) {
    this.#objects = objects;
    this.#run = run;
    const { storage } = objects;
    this.#stops = [
      storage.listen("nodes", ({ type, stored, before }) => {
        const old = hardTaints(before?.object as Node | undefined);
        if (type !== "DELETED" && !jsonEqual(hardTaints(stored.object as Node), old))
          run(() => this.#lookAt(stored.name));
      }),
      storage.listen("pods", ({ type, stored, before }) => {
        if (type === "DELETED") this.#cancel(keyOf(stored));
        else if (before === undefined || !jsonEqual(placeOf(stored), placeOf(before)))
          run(() => this.#check(stored.namespace, stored.name));
      }),
    ];
    for (const { name } of storage.list("nodes")) run(() => this.#lookAt(name));
  }

  [Symbol.dispose](): void {
    for (const stop of this.#stops) stop();
    for (const key of this.#evictions.keys()) this.#cancel(key);
  }

  #lookAt(node: string): void {
    for (const { namespace, name, object } of this.#objects.storage.list("pods"))
      if ((object as Pod).spec?.nodeName === node) this.#check(namespace, name);
  }

  #check(namespace: string, name: string): void {
    const { storage } = this.#objects;
    const stored = storage.get("pods", namespace, name);
    const pod = stored?.object as Pod | undefined;
    if (stored === undefined || !pod?.spec?.nodeName || pod.metadata?.deletionTimestamp !== undefined) return;
    const key = keyOf(stored);
    const node = storage.get("nodes", "", pod.spec.nodeName)?.object as Node | undefined;
    const seconds = toleratedFor(pod, hardTaints(node));
    const known = this.#evictions.get(key);
    if (seconds === 0) return this.#evict(stored);
    if (seconds === Infinity) {
      if (this.#cancel(key)) this.#tell(stored, "Cancelling deletion of");
      return;
    }
    const from = known?.uid === pod.metadata?.uid ? (known?.from ?? performance.now()) : performance.now();
    const until = from + seconds * 1000;
    if (known?.until === until) return;
    this.#cancel(key);
    const wait = until - performance.now();
    if (wait > LONGEST) return;
    const timer = setTimeout(() => this.#run(() => this.#evict(stored)), Math.max(0, wait)).unref();
    this.#evictions.set(key, { uid: pod.metadata?.uid, timer, from, until });
  }

  #cancel(key: string): boolean {
    clearTimeout(this.#evictions.get(key)?.timer);
    return this.#evictions.delete(key);
  }

  #evict({ namespace, name, object }: Stored): void {
    const stored = this.#objects.storage.get("pods", namespace, name);
    const pod = stored?.object as Pod | undefined;
    if (stored === undefined || pod?.metadata?.uid !== object.metadata?.uid) return;
    this.#cancel(keyOf(stored));
    const conditions = withCondition(pod?.status?.conditions, {
      type: "DisruptionTarget",
      status: "True",
      reason: "DeletionByTaintManager",
      message: "Taint manager: deleting due to NoExecute taint",
      lastTransitionTime: timestamp(),
    });
    this.#objects.put(pods, namespace, name, withStatus(pod ?? {}, { conditions }));
    this.#objects.delete(pods, namespace, name, {});
    this.#tell(stored, "Marking for deletion");
  }

  #tell({ namespace, name, object }: Stored, what: string): void {
    const about = { kind: "Pod", namespace, name, uid: object.metadata?.uid };
    tellOf(this.#objects, about, {
      type: "Normal",
      reason: EVENT,
      message: `${what} Pod ${namespace}/${name}`,
      component: CONTROLLER,
    });
  }
}

const keyOf = ({ namespace, name }: Stored): string => `${namespace}/${name}`;

const placeOf = ({ object }: Stored): unknown[] => {
  const { nodeName, tolerations } = (object as Pod).spec ?? {};
  return [nodeName, tolerations];
};

const hardTaints = (node: Node | undefined): Taint[] =>
  (node?.spec?.taints ?? []).filter(({ effect }) => effect === "NoExecute");

/** For how many seconds a Pod may stay where these taints are. */
function toleratedFor(pod: Pod, taints: readonly Taint[]): number {
  const tolerations = pod.spec?.tolerations ?? [];
  let shortest = Infinity;
  for (const taint of taints) {
    const fitting = tolerations.find((toleration) => tolerates(toleration, taint));
    if (fitting === undefined) return 0;
    shortest = Math.min(shortest, Math.max(0, fitting.tolerationSeconds ?? Infinity));
  }
  return shortest;
}
