import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Failure, messageOf } from "#base";
import type { ApiServerFlags, CriFlags, KubeletFlags, Places, Say } from "#cli";
import { startCri } from "#cri";
import { linuxKernel } from "#kernel";
import { startKubelet } from "#kubelet";
import { loadKubeconfig, openPki } from "#wire";
import { startControlPlane } from "./control-plane.ts";
import { openEngine } from "./engine.ts";
import { lockDirectory } from "./lock.ts";
import { createLog } from "./log.ts";
import { makePlaces, requireRoot } from "./places.ts";
import { keepHeapSmall } from "./small-heap.ts";
import { aborted } from "./up.ts";

/** Runs the API server until `signal` is aborted. */
export async function apiserver(places: Places, flags: ApiServerFlags, say: Say, signal: AbortSignal): Promise<void> {
  keepHeapSmall();
  makePlaces(places);
  const log = createLog("warn");
  await using stack = new AsyncDisposableStack();
  stack.use(lockDirectory(places.dataDir, "apiserver"));
  const control = stack.use(await startControlPlane(places, { ...flags, kubeletsAreOurs: false }, log));
  say(`The API server answers at ${control.server.url}: export KUBECONFIG=${flags.kubeconfig}`);
  await aborted(signal);
}

/** Runs the kubelet until `signal` is aborted. Pods keep running, as they do when a stock kubelet ends. */
export async function kubelet(places: Places, flags: KubeletFlags, say: Say, signal: AbortSignal): Promise<void> {
  requireRoot();
  const api = await readKubeconfig(flags.kubeconfig);
  keepHeapSmall();
  makePlaces(places);
  const log = createLog("warn");
  await using stack = new AsyncDisposableStack();
  stack.use(lockDirectory(places.runDir, "kubelet"));
  const rootDir = join(places.dataDir, "kubelet");
  const pki = await openPki(join(rootDir, "pki"));
  const node = flags.nodeName;
  const certificate = () => pki.serverCertificate({ dnsNames: [node, "localhost"], ips: ["127.0.0.1"] });
  const running = stack.use(
    await startKubelet({
      api,
      criSocket: flags.criSocket,
      nodeName: node,
      rootDir,
      podLogsDir: join(places.dataDir, "pod-logs"),
      host: "127.0.0.1",
      port: 0,
      nodeIp: "127.0.0.1",
      serverCertificate: await certificate(),
      renewServerCertificate: certificate,
      clientCa: api.ca ?? pki.ca,
      kernel: linuxKernel(),
      config: {
        ...flags.imageAccess,
        ...(flags.evictionHard === undefined ? {} : { evictionHard: flags.evictionHard }),
      },
      log,
    }),
  );
  await running.ready;
  say(`Node ${node} is Ready at ${api.server}`);
  await aborted(signal);
}

/** Runs the CRI endpoint until `signal` is aborted. Containers and their mounts stay. */
export async function cri(places: Places, flags: CriFlags, say: Say, signal: AbortSignal): Promise<void> {
  requireRoot();
  keepHeapSmall();
  makePlaces(places);
  const log = createLog("warn");
  await using stack = new AsyncDisposableStack();
  stack.use(lockDirectory(places.runDir, "cri"));
  const engine = stack.use(await openEngine(places, log, flags.watermarks));
  const { listen, containerd: upstream, allowExec } = flags;
  stack.use(await startCri({ engine, listen, upstream, runDir: places.runDir, allowExec, log }));
  say(`CRI is served at unix://${flags.listen}, for the containerd at unix://${flags.containerd}`);
  await aborted(signal);
}

async function readKubeconfig(path: string): Promise<Awaited<ReturnType<typeof loadKubeconfig>>> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    throw new Failure("INVALID_ARGUMENT", "INVALID_KUBECONFIG", `the kubeconfig cannot be read: ${messageOf(error)}`, {
      cause: error,
    });
  }
  return loadKubeconfig(text, { directory: dirname(path) });
}
