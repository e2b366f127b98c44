import { randomBytes } from "node:crypto";
import { isFailure, type Log, messageOf } from "#base";
import { type Event, type Node, type Pod, timestamp } from "#k8s";
import { createKubeClient, type KubeClient, type KubeClientOptions, kubePath, startInformer } from "#wire";
import { misfit } from "./fit.ts";

export interface SchedulerOptions {
  readonly api: KubeClientOptions | KubeClient;
  readonly log: Log;
}

const NAME = "default-scheduler";
/** A Pod that fits nowhere is tried again when a node or a Pod changes, and after this. */
const RETRY_MS = 30_000;

/** Binds every Pod without a node to one that is Ready, that it fits on, and that has the fewest Pods. */
export async function startScheduler(options: SchedulerOptions): Promise<AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const { log } = options;
  const client =
    "server" in options.api
      ? stack.use(createKubeClient({ userAgent: "orlop-scheduler", ...options.api }))
      : options.api;
  const binding = new Set<string>();
  /** What each Pod was last told, by uid. */
  const told = new Map<string, string>();
  let timer: NodeJS.Timeout | undefined;
  let ended = false;
  let passing: Promise<void> = Promise.resolve();

  const wake = (): void => {
    if (ended) return;
    clearTimeout(timer);
    timer = setTimeout(wake, RETRY_MS);
    passing = passing.then(schedule).catch((error: unknown) => {
      log.warn({ error: messageOf(error) }, "scheduling failed");
    });
  };
  const pods = startInformer<Pod>({
    client,
    path: kubePath("v1", "pods"),
    log,
    onChange(pod, old) {
      if (pod.spec?.nodeName) binding.delete(uidOf(pod));
      // What a kubelet reports of a running Pod changes nothing here, but an end makes room.
      if (isWaiting(pod) || old?.status?.phase !== pod.status?.phase) wake();
    },
    onDelete(pod) {
      told.delete(uidOf(pod));
      binding.delete(uidOf(pod));
      wake();
    },
  });
  stack.use(pods);
  const nodes = startInformer<Node>({
    client,
    path: kubePath("v1", "nodes"),
    log,
    onChange(node, old) {
      if (
        !old ||
        isReady(old) !== isReady(node) ||
        old.metadata?.generation !== node.metadata?.generation ||
        JSON.stringify([old.metadata?.labels, old.spec]) !== JSON.stringify([node.metadata?.labels, node.spec])
      )
        wake();
    },
    onDelete: wake,
  });
  stack.use(nodes);

  const schedule = async (): Promise<void> => {
    await Promise.all([pods.synced, nodes.synced]);
    const waiting = pods.list().filter((pod) => isWaiting(pod) && !binding.has(uidOf(pod)));
    for (const pod of waiting) {
      if (ended) return;
      const everyone = pods.list().filter((other) => other !== pod);
      const verdicts = nodes.list().map((node) => ({ node, why: misfit(pod, node, everyone) }));
      const load = (node: Node): number =>
        everyone.filter((other) => other.spec?.nodeName === node.metadata?.name).length;
      const [best] = verdicts
        .filter(({ why }) => why === undefined)
        .map(({ node }) => node)
        .sort((a, b) => load(a) - load(b));
      try {
        if (best) await bind(pod, best.metadata?.name ?? "");
        else
          await refuse(
            pod,
            verdicts.map(({ why }) => why ?? ""),
          );
      } catch (error) {
        if (!isFailure(error, "NotFound", "Conflict", "AlreadyExists")) throw error;
      }
    }
  };

  const bind = async (pod: Pod, node: string): Promise<void> => {
    const { name = "", namespace = "default", uid = "" } = pod.metadata ?? {};
    binding.add(uid);
    try {
      await client.create(kubePath("v1", "pods", { namespace, name, subresource: "binding" }), {
        apiVersion: "v1",
        kind: "Binding",
        metadata: { name, namespace, uid },
        target: { apiVersion: "v1", kind: "Node", name: node },
      });
    } catch (error) {
      binding.delete(uid);
      throw error;
    }
    await event(pod, "Normal", "Scheduled", `Successfully assigned ${namespace}/${name} to ${node}`);
  };

  const refuse = async (pod: Pod, whys: readonly string[]): Promise<void> => {
    const counts = new Map<string, number>();
    for (const why of whys) counts.set(why, (counts.get(why) ?? 0) + 1);
    const reasons = [...counts].map(([why, count]) => `${count} ${why}`).sort();
    const message =
      whys.length === 0
        ? "no nodes available to schedule pods"
        : `0/${whys.length} nodes are available: ${reasons.join(", ")}.`;
    if (told.get(uidOf(pod)) === message) return;
    await event(pod, "Warning", "FailedScheduling", message);
    const at = { namespace: pod.metadata?.namespace, name: pod.metadata?.name, subresource: "status" };
    const condition = {
      type: "PodScheduled",
      status: "False",
      reason: "Unschedulable",
      message,
      lastProbeTime: null,
      lastTransitionTime: timestamp(),
    };
    await client.patch(
      kubePath("v1", "pods", at),
      { metadata: { uid: uidOf(pod) }, status: { conditions: [condition] } },
      "strategic",
    );
  };

  const event = async (pod: Pod, type: string, reason: string, message: string): Promise<void> => {
    const { name = "", namespace = "default", uid = "" } = pod.metadata ?? {};
    const time = timestamp();
    const body: Event = {
      apiVersion: "v1",
      kind: "Event",
      metadata: { name: `${name}.${randomBytes(8).toString("hex")}`, namespace },
      involvedObject: { apiVersion: "v1", kind: "Pod", name, namespace, uid },
      type,
      reason,
      message,
      source: { component: NAME },
      reportingComponent: NAME,
      reportingInstance: NAME,
      firstTimestamp: time,
      lastTimestamp: time,
      count: 1,
    };
    told.set(uid, message);
    // An Event that cannot be written must not undo a binding.
    await client.create(kubePath("v1", "events", { namespace }), body).catch((error: unknown) => {
      log.warn({ reason, error: messageOf(error) }, "event not written");
    });
  };

  const owned = stack.move();
  return {
    async [Symbol.asyncDispose]() {
      ended = true;
      clearTimeout(timer);
      await owned.disposeAsync();
      await passing;
    },
  };
}

const uidOf = (pod: Pod): string => pod.metadata?.uid ?? "";

const isWaiting = (pod: Pod): boolean =>
  !pod.spec?.nodeName &&
  !pod.metadata?.deletionTimestamp &&
  (pod.spec?.schedulerName ?? NAME) === NAME &&
  !(pod.spec as { schedulingGates?: unknown[] } | undefined)?.schedulingGates?.length &&
  !["Succeeded", "Failed"].includes(pod.status?.phase ?? "");

const isReady = (node: Node): boolean =>
  node.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") ?? false;
