import { setTimeout as sleep } from "node:timers/promises";
import { isFailure, type Log, messageOf } from "#base";
import { type Node, type NodeStatus, timestamp } from "#k8s";
import { type KubeClient, kubePath } from "#wire";
import type { Runtime } from "./cri.ts";
import type { EventRecorder } from "./events.ts";
import { referenceToNode } from "./events.ts";
import type { Machine } from "./machine.ts";
import type { Amounts } from "./pod-resources.ts";
import { binary } from "./quantity.ts";
import type { Pressure } from "./thresholds.ts";

export const KUBELET_VERSION = "v1.36.0";

export interface NodeOptions {
  readonly client: KubeClient;
  readonly runtime: Runtime;
  readonly recorder: EventRecorder;
  readonly log: Log;
  readonly nodeName: string;
  readonly nodeIps: readonly string[];
  readonly port: number;
  readonly machine: Machine;
  /** What of the machine Pods may use: bytes. */
  readonly allocatable: Amounts;
  readonly maxPods: number;
  readonly heartbeatMs: number;
  readonly runtimeVersion: string;
  /** What the node runs short of; asked at each heartbeat. */
  readonly pressures: () => readonly Pressure[];
  readonly now: () => number;
}

/** This machine as a Node object: registered, reported at each heartbeat where something changed, and its Lease renewed. */
export interface NodeReporter extends AsyncDisposable {
  /** The node is registered and was reported Ready. Rejects never; a node that is not ready keeps it waiting. */
  readonly ready: Promise<void>;
}

const REPORT_MS = 300_000;
const LEASE_SECONDS = 40;

export function startNodeReporter(options: NodeOptions): NodeReporter {
  const { client, log, now, nodeName, recorder } = options;
  const stop = new AbortController();
  const ready = Promise.withResolvers<void>();
  const path = kubePath("v1", "nodes", { name: nodeName });
  let node: Node | undefined;
  let sent = "";
  let sentAt = 0;
  let wasReady: boolean | undefined;
  const wasUnder = new Map<Pressure, boolean>();

  const register = async (): Promise<Node> => {
    const fresh: Node = {
      apiVersion: "v1",
      kind: "Node",
      metadata: { name: nodeName, labels: labelsOf(options) },
      status: nodeStatus(options, undefined, []),
    };
    try {
      return await client.create<Node>(kubePath("v1", "nodes"), fresh);
    } catch (error) {
      if (!isFailure(error, "AlreadyExists")) throw error;
      return await client.patch<Node>(path, { metadata: { labels: labelsOf(options) } }, "strategic");
    }
  };

  /** The node as others have left it: removed, or given up while nothing was heard from here. */
  const known = async (): Promise<Node> => {
    try {
      return await client.get<Node>(path);
    } catch (error) {
      if (!isFailure(error, "NotFound")) throw error;
      return await register();
    }
  };

  const report = async (): Promise<void> => {
    node = node === undefined ? await register() : await known();
    const problems = await problemsOf(options.runtime);
    const status = nodeStatus(options, node, problems);
    const text = JSON.stringify({
      ...status,
      conditions: status.conditions?.map((one) => ({ ...one, lastHeartbeatTime: undefined })),
    });
    const isReady = problems.length === 0;
    if (text !== sent || now() - sentAt > REPORT_MS) {
      node = await client.patch<Node>(`${path}/status`, { status }, "strategic");
      sent = text;
      sentAt = now();
    }
    for (const { type, events } of PRESSURES) {
      const isUnder = options.pressures().includes(type);
      if (isUnder === wasUnder.get(type)) continue;
      wasUnder.set(type, isUnder);
      const reason = isUnder ? events.yes : events.no;
      recorder.event(referenceToNode(node), "Normal", reason, `Node ${nodeName} status is now: ${reason}`);
    }
    if (isReady !== wasReady) {
      const [reason, message] = isReady
        ? ["NodeReady", `Node ${nodeName} status is now: NodeReady`]
        : ["NodeNotReady", `Node ${nodeName} status is now: NodeNotReady`];
      recorder.event(referenceToNode(node), "Normal", reason, message);
    }
    wasReady = isReady;
    if (isReady) ready.resolve();
  };

  const renew = async (): Promise<void> => {
    const at = { namespace: "kube-node-lease", name: nodeName };
    const renewTime = new Date(now()).toISOString().replace("Z", "000Z");
    const spec = { holderIdentity: nodeName, leaseDurationSeconds: LEASE_SECONDS, renewTime };
    try {
      const lease = await client.get(kubePath("coordination.k8s.io/v1", "leases", at));
      await client.update(kubePath("coordination.k8s.io/v1", "leases", at), { ...lease, spec });
    } catch (error) {
      if (!isFailure(error, "NotFound")) throw error;
      const metadata = {
        name: nodeName,
        namespace: at.namespace,
        ...(node?.metadata?.uid
          ? { ownerReferences: [{ apiVersion: "v1", kind: "Node", name: nodeName, uid: node.metadata.uid }] }
          : {}),
      };
      const lease = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata, spec };
      await client.create(kubePath("coordination.k8s.io/v1", "leases", { namespace: at.namespace }), lease);
    }
  };

  const run = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      let pauseMs = wasReady ? options.heartbeatMs : 200;
      for (const step of [report, renew]) {
        try {
          await step();
        } catch (error) {
          if (stop.signal.aborted) return;
          log.warn({ node: nodeName, error: messageOf(error) }, "node heartbeat failed");
          pauseMs = Math.min(options.heartbeatMs, 1000);
        }
      }
      if (wasReady) pauseMs = Math.max(pauseMs, Math.min(options.heartbeatMs, 1000));
      await sleep(pauseMs, undefined, { signal: stop.signal }).catch(() => undefined);
    }
  };
  const running = run();
  return {
    ready: ready.promise,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}

/** Why the runtime cannot run Pods now; empty when it can. */
async function problemsOf(runtime: Runtime): Promise<string[]> {
  try {
    const { status } = await runtime.status({ verbose: false }, { timeout: 10_000 });
    return (status?.conditions ?? [])
      .filter(
        (condition) => !condition.status && (condition.type === "RuntimeReady" || condition.type === "NetworkReady"),
      )
      .map(({ type, reason, message }) =>
        type === "NetworkReady"
          ? `container runtime network not ready: NetworkReady=false reason:${reason} message:${message}`
          : `container runtime not ready: RuntimeReady=false reason:${reason} message:${message}`,
      );
  } catch (error) {
    return [`container runtime is down: ${messageOf(error)}`];
  }
}

function labelsOf({ nodeName, machine }: NodeOptions): Record<string, string> {
  return {
    "kubernetes.io/hostname": nodeName,
    "kubernetes.io/os": "linux",
    "kubernetes.io/arch": machine.architecture,
    "beta.kubernetes.io/os": "linux",
    "beta.kubernetes.io/arch": machine.architecture,
  };
}

type Words = readonly [reason: string, message: string];

interface PressureWords {
  readonly type: Pressure;
  readonly yes: Words;
  readonly no: Words;
  /** The reasons of the Events. */
  readonly events: { readonly yes: string; readonly no: string };
}

const PRESSURES: readonly PressureWords[] = [
  {
    type: "MemoryPressure",
    yes: ["KubeletHasInsufficientMemory", "kubelet has insufficient memory available"],
    no: ["KubeletHasSufficientMemory", "kubelet has sufficient memory available"],
    events: { yes: "NodeHasInsufficientMemory", no: "NodeHasSufficientMemory" },
  },
  {
    type: "DiskPressure",
    yes: ["KubeletHasDiskPressure", "kubelet has disk pressure"],
    no: ["KubeletHasNoDiskPressure", "kubelet has no disk pressure"],
    events: { yes: "NodeHasDiskPressure", no: "NodeHasNoDiskPressure" },
  },
  {
    type: "PIDPressure",
    yes: ["KubeletHasInsufficientPID", "kubelet has insufficient PID available"],
    no: ["KubeletHasSufficientPID", "kubelet has sufficient PID available"],
    events: { yes: "NodeHasInsufficientPID", no: "NodeHasSufficientPID" },
  },
];

function nodeStatus(options: NodeOptions, old: Node | undefined, problems: readonly string[]): NodeStatus {
  const { machine, maxPods, nodeIps, nodeName, now } = options;
  const resources = (memory: number, disk: number) => ({
    cpu: String(machine.cores),
    memory: binary(Math.floor(memory / 1024) * 1024),
    "ephemeral-storage": binary(Math.floor(disk)),
    pods: String(maxPods),
  });
  const condition = (type: string, ok: boolean, reason: string, message: string) => {
    const status = ok ? "True" : "False";
    const before = old?.status?.conditions?.find((one) => one.type === type);
    return {
      type,
      status,
      reason,
      message,
      lastHeartbeatTime: timestamp(now()),
      lastTransitionTime: before?.status === status ? before.lastTransitionTime : timestamp(now()),
    };
  };
  const ready = problems.length === 0;
  const conditions = [
    ...PRESSURES.map(({ type, yes, no }) => {
      const isUnder = options.pressures().includes(type);
      return condition(type, isUnder, ...(isUnder ? yes : no));
    }),
    condition(
      "Ready",
      ready,
      ready ? "KubeletReady" : "KubeletNotReady",
      ready ? "kubelet is posting ready status" : problems.join(", "),
    ),
  ];
  return {
    addresses: [
      ...nodeIps.map((address) => ({ type: "InternalIP", address })),
      { type: "Hostname", address: nodeName },
    ],
    capacity: resources(machine.memoryBytes, machine.diskBytes),
    allocatable: resources(options.allocatable["memory"] ?? 0, options.allocatable["ephemeral-storage"] ?? 0),
    conditions: conditions as unknown as NonNullable<NodeStatus["conditions"]>,
    daemonEndpoints: { kubeletEndpoint: { Port: options.port } },
    nodeInfo: {
      architecture: machine.architecture,
      bootID: machine.bootId,
      containerRuntimeVersion: options.runtimeVersion,
      kernelVersion: machine.kernel,
      kubeletVersion: KUBELET_VERSION,
      kubeProxyVersion: "",
      machineID: machine.machineId,
      operatingSystem: "linux",
      osImage: machine.osImage,
      systemUUID: machine.systemUuid,
    },
  };
}
