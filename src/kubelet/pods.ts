import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "#base";
import type { Pod } from "#k8s";
import { type Informer, kubePath, startInformer } from "#wire";
import { Bell } from "./bell.ts";
import type { Kubelet } from "./context.ts";
import { ANNOTATIONS, LABELS } from "./cri.ts";
import { nameOf, namespaceOf, uidOf } from "./pod.ts";
import { PodWorker } from "./pod-worker.ts";
import { viewPod } from "./pod-view.ts";
import { RelistPace, type RuntimeEvents } from "./relist-pace.ts";

/** All Pods of this node: a worker each, woken by the API's changes and by the runtime's. */
export interface Pods extends AsyncDisposable {
  readonly synced: Promise<void>;
  list(): readonly Pod[];
  find(namespace: string, name: string): Pod | undefined;
  /** The ids of images that volumes of Pods stand for. */
  imageVolumes(): readonly string[];
  /** Ends a Pod for good, and resolves when only its object is left. */
  evict(podUid: string, message: string, isDisruption: boolean): Promise<void>;
  /** Ends everything that runs, for a node that goes away in order; the API's objects stay. */
  stopAll(maxGraceSeconds: number): Promise<void>;
}

export interface PodsOptions {
  readonly podsDir: string;
  readonly events: RuntimeEvents;
  /** Between two looks at the runtime, where its events do not say when one is due. Milliseconds. */
  readonly relistMs: number;
  /** Between two looks at most, where they do. Milliseconds. */
  readonly quietRelistMs: number;
}

export function startPods(kubelet: Kubelet, options: PodsOptions): Pods {
  const { podsDir, events, relistMs: pollMs, quietRelistMs: quietMs } = options;
  const workers = new Map<string, PodWorker>();
  const stop = new AbortController();
  const { runtime, log } = kubelet;

  const informer: Informer<Pod> = startInformer<Pod>({
    client: kubelet.client,
    path: kubePath("v1", "pods"),
    query: { fieldSelector: `spec.nodeName=${kubelet.nodeName}` },
    log,
    onChange(pod) {
      if (stop.signal.aborted) return;
      const known = workers.get(uidOf(pod));
      if (known) known.update(pod);
      else workers.set(uidOf(pod), new PodWorker(kubelet, pod, () => workers.delete(uidOf(pod))));
    },
    onDelete(pod) {
      workers.get(uidOf(pod))?.remove();
    },
  });

  let seen = new Map<string, string>();
  let suspects = new Set<string>();
  const cleaning = new Set<string>();

  const look = async (): Promise<void> => {
    const [{ items }, { containers }] = await Promise.all([
      runtime.listPodSandbox({}, { timeout: 30_000 }),
      runtime.listContainers({}, { timeout: 30_000 }),
    ]);
    const found = new Map<string, string[]>();
    const ours = new Set<string>();
    const note = (uid: string | undefined, what: string): void => {
      if (uid) found.set(uid, [...(found.get(uid) ?? []), what]);
    };
    for (const sandbox of items) {
      note(sandbox.labels[LABELS.podUid], `${sandbox.id}:${sandbox.state}`);
      if (sandbox.annotations[ANNOTATIONS.node] === kubelet.nodeName) ours.add(sandbox.labels[LABELS.podUid] ?? "");
    }
    for (const container of containers) note(container.labels[LABELS.podUid], `${container.id}:${container.state}`);
    const prints = new Map([...found].map(([uid, parts]) => [uid, parts.sort().join()]));
    for (const [uid, worker] of workers) if (prints.get(uid) !== seen.get(uid)) worker.wake();
    seen = prints;
    kubelet.metrics.pods.set(items.filter(({ state }) => state === 0).length);
    for (const [i, state] of ["created", "running", "exited", "unknown"].entries())
      kubelet.metrics.containers.set(
        { container_state: state },
        containers.filter((one) => Number(one.state) === i).length,
      );

    const orphans = [...ours].filter((uid) => uid !== "" && !workers.has(uid));
    for (const uid of orphans) if (suspects.has(uid)) void clean(uid);
    suspects = new Set(orphans);
  };

  /** Removes what is left of a Pod that the API does not know any more. */
  const clean = async (uid: string): Promise<void> => {
    if (cleaning.has(uid)) return;
    cleaning.add(uid);
    try {
      const view = await viewPod(runtime, uid);
      for (const container of view.containers) {
        if (container.state === "running") await runtime.stopContainer({ containerId: container.id, timeout: 2n });
        await runtime.removeContainer({ containerId: container.id });
      }
      for (const { id } of view.sandboxes) {
        await runtime.stopPodSandbox({ podSandboxId: id });
        await runtime.removePodSandbox({ podSandboxId: id });
      }
      await kubelet.volumes.teardown(uid);
      await kubelet.cgroups.remove(uid);
      const logs = await readdir(kubelet.podLogsDir).catch(() => []);
      for (const name of logs.filter((entry) => entry.endsWith(`_${uid}`)))
        await rm(join(kubelet.podLogsDir, name), { recursive: true, force: true });
    } catch (error) {
      log.warn({ pod: uid, error: messageOf(error) }, "orphan not removed");
    } finally {
      cleaning.delete(uid);
    }
  };

  const bell = new Bell();
  const pace = new RelistPace({ events, pollMs, quietMs, onEvent: (delayMs) => bell.ring(delayMs), log });
  const run = async (): Promise<void> => {
    await informer.synced;
    if (stop.signal.aborted) return;
    const left = new Set([...(await readdir(podsDir).catch(() => [])), ...(await kubelet.cgroups.list())]);
    for (const uid of left) if (!workers.has(uid)) await clean(uid);
    while (!stop.signal.aborted) {
      await look().catch((error: unknown) => {
        if (!stop.signal.aborted) log.warn({ error: messageOf(error) }, "runtime not answering");
      });
      bell.ring(pace.pause());
      await bell.wait();
    }
  };
  const running = run();

  const end = async (): Promise<void> => {
    stop.abort();
    bell.stop();
    await pace[Symbol.asyncDispose]();
    await informer[Symbol.asyncDispose]();
    await running;
  };
  return {
    synced: informer.synced,
    list: () => [...workers.values()].map((worker) => worker.pod),
    find: (namespace, name) =>
      [...workers.values()]
        .map((worker) => worker.pod)
        .find((pod) => namespaceOf(pod) === namespace && nameOf(pod) === name),
    imageVolumes: () => [...workers.values()].flatMap((worker) => worker.imageVolumes),
    evict: async (podUid, message, isDisruption) => workers.get(podUid)?.evict(message, isDisruption),
    async stopAll(maxGraceSeconds) {
      await end();
      await Promise.all([...workers.values()].map((worker) => worker.stopPod(maxGraceSeconds)));
      workers.clear();
    },
    async [Symbol.asyncDispose]() {
      await end();
      await Promise.all([...workers.values()].map((worker) => worker.stop()));
    },
  };
}
