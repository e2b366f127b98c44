import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silent } from "#base";
import type { Event, Pod, PodSpec } from "#k8s";
import { openPki, type KubeClient } from "#wire";
import type { KubeletConfig } from "../kubelet-config.ts";
import { statusOf } from "../pod.ts";
import { type KubeletOptions, startKubelet, type RunningKubelet } from "../kubelet.ts";
import { type FakeApi, fakeApi } from "./fake-api.ts";
import { type FakeRuntime, fakeRuntime } from "./fake-runtime.ts";

/** A kubelet between an API server and a runtime that are both in memory. Everything quick: milliseconds for seconds. */
export interface TestNode extends AsyncDisposable {
  readonly api: FakeApi;
  readonly runtime: FakeRuntime;
  readonly directory: string;
  kubelet: RunningKubelet;
  /** Applies a Pod that is bound to this node. */
  apply(name: string, spec: Partial<PodSpec>, metadata?: Pod["metadata"]): Pod;
  pod(name: string): Pod;
  /** Resolves with the Pod once `test` holds for it. */
  when(name: string, test: (pod: Pod) => unknown): Promise<Pod>;
  /** Resolves once the Pod's Events hold one with that reason, and the message if given. */
  event(name: string, reason: string, message?: string): Promise<Event>;
  /** `Warning Failed spec.containers{test} …`, counts left out, in order. */
  told(name: string): string[];
  gone(name: string): Promise<unknown>;
  /** Ends the kubelet, leaving all else, and starts another. */
  restart(): Promise<void>;
}

export const QUICK: KubeletConfig = {
  relistPeriod: 10,
  syncFrequency: 5000,
  nodeStatusUpdateFrequency: 200,
  imageBackOff: { initial: 60, max: 480 },
  crashLoopBackOff: { initial: 40, max: 320 },
  retryPeriod: 50,
  resolvConf: "/dev/null",
};

export async function startNode(
  config: KubeletConfig = {},
  wrap: (api: FakeApi) => KubeClient = (api) => api,
  options: Partial<KubeletOptions> = {},
): Promise<TestNode> {
  const directory = await mkdtemp(join(tmpdir(), "orlop-kubelet-"));
  const api = fakeApi();
  const runtime = fakeRuntime();
  const pki = await openPki(join(directory, "pki"));
  const serverCertificate = await pki.serverCertificate({ dnsNames: ["localhost"], ips: ["127.0.0.1"] });
  const start = (): Promise<RunningKubelet> =>
    startKubelet({
      api: wrap(api),
      criSocket: runtime,
      nodeName: "node",
      rootDir: join(directory, "kubelet"),
      podLogsDir: join(directory, "logs"),
      host: "127.0.0.1",
      port: 0,
      nodeIp: "127.0.0.1",
      serverCertificate,
      clientCa: pki.ca,
      log: silent,
      measure: async () => ({}),
      ...options,
      config: { ...QUICK, cgroupMountPoint: join(directory, "cgroup"), ...config },
    });
  const node: TestNode = {
    api,
    runtime,
    directory,
    kubelet: await start(),
    apply: (name, spec, metadata = {}) =>
      api.put<Pod>("pods", {
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name, namespace: "default", ...metadata },
        spec: { nodeName: "node", restartPolicy: "Always", terminationGracePeriodSeconds: 30, containers: [], ...spec },
      }),
    pod: (name) => api.read("pods", "default", name) as Pod,
    when: (name, test) =>
      api.until(() => {
        const pod = api.read("pods", "default", name) as Pod | undefined;
        return pod && test(pod) ? pod : undefined;
      }),
    event: (name, reason, message) =>
      api.until(() =>
        api.events(name).find((event) => event.reason === reason && (!message || event.message === message)),
      ),
    told: (name) =>
      api
        .events(name)
        .map(({ type, reason, message, involvedObject }) =>
          [type, reason, involvedObject.fieldPath, message].filter((part) => part !== undefined).join(" "),
        ),
    gone: (name) => api.until(() => !api.read("pods", "default", name)),
    async restart() {
      await node.kubelet[Symbol.asyncDispose]();
      node.kubelet = await start();
    },
    async [Symbol.asyncDispose]() {
      await node.kubelet[Symbol.asyncDispose]();
      await rm(directory, { recursive: true, force: true });
    },
  };
  return node;
}

export const isRunning = (pod: Pod, container: string): boolean =>
  statusOf(pod, container)?.state?.running !== undefined;
