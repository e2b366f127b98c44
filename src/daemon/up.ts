import { join } from "node:path";
import { messageOf, type Log } from "#base";
import type { Places, Say, UpFlags } from "#cli";
import { startCri } from "#cri";
import { linuxKernel } from "#kernel";
import { startKubelet, type ApiAddress } from "#kubelet";
import { startScheduler } from "#scheduler";
import { containerExits, createCriClient } from "#wire";
import { startContainerd } from "./containerd.ts";
import { startControlPlane } from "./control-plane.ts";
import { openEngine } from "./engine.ts";
import { lockDirectory } from "./lock.ts";
import { createLog } from "./log.ts";
import { makePlaces, requireRoot } from "./places.ts";
import { keepHeapSmall } from "./small-heap.ts";

/**
 * Runs a whole node until `signal` is aborted. Then its Pods are stopped within their grace periods and everything it started is
 * gone; the API's objects stay, so that the next start runs the same Pods. A crash instead leaves the Pods running, and the next
 * start takes them over.
 */
export async function up(places: Places, flags: UpFlags, say: Say, signal: AbortSignal): Promise<void> {
  requireRoot();
  keepHeapSmall();
  makePlaces(places);
  const log = createLog("warn");
  await using stack = new AsyncDisposableStack();
  stack.use(lockDirectory(places.runDir, "up"));

  const control = stack.use(await startControlPlane(places, { ...flags, kubeletsAreOurs: true }, log));
  const { dataDir, runDir, certsDir } = places;
  let containerd = flags.containerd ?? "";
  let apiAddress: ApiAddress | undefined;
  if (flags.containerd === undefined) {
    const { sandboxImage } = flags;
    const own = stack.use(await startContainerd({ dataDir, runDir, certsDir, sandboxImage, log }));
    containerd = own.socket;
    await control.server.listenAt(own.gateway);
    apiAddress = { host: own.gateway, port: control.server.port };
    const fetched = fetchSandboxImage(containerd, flags.sandboxImage, signal, log);
    stack.defer(() => fetched);
  }
  const engine = stack.use(await openEngine(places, log, flags.watermarks));
  const criSocket = join(places.runDir, "cri.sock");
  const { allowExec } = flags;
  stack.use(await startCri({ engine, listen: criSocket, upstream: containerd, runDir, allowExec, log }));
  stack.use(await startScheduler({ api: await control.as("system:kube-scheduler", []), log }));
  const node = flags.nodeName;
  const certificate = () => control.pki.serverCertificate({ dnsNames: [node, "localhost"], ips: ["127.0.0.1"] });
  const kubelet = stack.use(
    await startKubelet({
      api: await control.as(`system:node:${node}`, ["system:nodes"]),
      criSocket,
      runtimeEvents: (call) => containerExits(containerd, call),
      nodeName: node,
      rootDir: join(places.dataDir, "kubelet"),
      podLogsDir: join(places.dataDir, "pod-logs"),
      host: "127.0.0.1",
      port: 0,
      nodeIp: "127.0.0.1",
      serverCertificate: await certificate(),
      renewServerCertificate: certificate,
      clientCa: control.pki.ca,
      apiAddress,
      kernel: linuxKernel(),
      config: {
        ...flags.imageAccess,
        ...(flags.evictionHard === undefined ? {} : { evictionHard: flags.evictionHard }),
      },
      log,
    }),
  );
  await Promise.race([kubelet.ready, aborted(signal)]);
  if (signal.aborted) return;
  say(`Node ${node} is Ready: export KUBECONFIG=${flags.kubeconfig}`);
  await aborted(signal);
  await kubelet.stopPods();
}

/** So that the first Pod need not wait for it. Where it cannot be had, that Pod says why. */
async function fetchSandboxImage(socket: string, image: string, signal: AbortSignal, log: Log): Promise<void> {
  using client = createCriClient(socket);
  try {
    const { image: present } = await client.imageStatus({ image: { image } }, { signal });
    if (present === undefined) await client.pullImage({ image: { image } }, { signal });
  } catch (error) {
    log.debug({ image, error: messageOf(error) }, "the sandbox image could not be fetched beforehand");
  }
}

/** Resolves when the signal is aborted. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    if (signal.aborted) done();
    else signal.addEventListener("abort", () => done(), { once: true });
  });
}
