import { chmod, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Log } from "#base";
import type { Kernel } from "#kernel";
import { createCriClient, createKubeClient, type KubeClient, type KubeClientOptions } from "#wire";
import { Backoff } from "./backoff.ts";
import { createCgroups } from "./cgroups.ts";
import { openCredentialPlugins } from "./credential-plugins.ts";
import type { Kubelet } from "./context.ts";
import type { Runtime } from "./cri.ts";
import { diskSpace } from "./disk.ts";
import { Eviction } from "./eviction.ts";
import { createEventRecorder, referenceToNode } from "./events.ts";
import { ImageCollector } from "./image-gc.ts";
import type { KubeletConfig } from "./kubelet-config.ts";
import { rotateLogs } from "./rotate-logs.ts";
import { createImagePuller } from "./image-puller.ts";
import { matchKeys } from "./keyring.ts";
import { type Machine, inspectMachine } from "./machine.ts";
import { machineMeasure, type Measure } from "./measure.ts";
import { createMetrics } from "./metrics.ts";
import { startNodeReporter } from "./node-status.ts";
import { createObjectReader } from "./objects.ts";
import { startPods } from "./pods.ts";
import type { RuntimeEvents } from "./relist-pace.ts";
import { isTerminal } from "./pod.ts";
import { ProcessorRates } from "./processor-rate.ts";
import { createPullLimits } from "./pull-limits.ts";
import { openPullRecords } from "./pull-records.ts";
import { repeat } from "./repeat.ts";
import { cgroupDriver, supportsRecursiveReadOnly } from "./runtime-facts.ts";
import { startKubeletServer } from "./server.ts";
import { createTokenSource } from "./service-account-token.ts";
import { type ApiAddress, createServiceReader } from "./services.ts";
import { DEFAULT_THRESHOLDS, parseThresholds, reservedBy } from "./thresholds.ts";
import { Usages } from "./usage.ts";
import { createVolumes } from "./volumes.ts";
import { nodeKeyring } from "./node-keyring.ts";

export interface KubeletOptions {
  readonly api: KubeClientOptions | KubeClient;
  /** The runtime's socket; or the runtime itself, in tests. */
  readonly criSocket: string | Runtime;
  /** What tells that something happened in the runtime. Absent: the runtime's own events, where it has CRI's. */
  readonly runtimeEvents?: RuntimeEvents | undefined;
  readonly nodeName: string;
  readonly rootDir: string;
  readonly podLogsDir: string;
  /** Where the kubelet's own API listens. */
  readonly host: string;
  /** 0: any. */
  readonly port: number;
  readonly nodeIp: string;
  readonly serverCertificate: { readonly cert: string; readonly key: string };
  /** Gives the certificate anew where it nears its end; asked once a day. */
  readonly renewServerCertificate?: (() => Promise<{ readonly cert: string; readonly key: string }>) | undefined;
  /** PEM: whose certificates may call the kubelet. */
  readonly clientCa: string;
  /** Where Pods reach the API server, for one that has no Services to say so. */
  readonly apiAddress?: ApiAddress | undefined;
  /** What is left of the machine. Default: as it says itself. */
  readonly measure?: Measure | undefined;
  /** For memory-backed volumes; absent, they lie on disk. */
  readonly kernel?: Kernel | undefined;
  readonly log: Log;
  readonly config?: KubeletConfig | undefined;
}

/** A day, in milliseconds. */
const RENEW_EVERY = 86_400_000;

export interface RunningKubelet extends AsyncDisposable {
  readonly port: number;
  /** The node is registered and Ready. */
  readonly ready: Promise<void>;
  /** Ends all Pods of this node, within their grace periods up to `maxGraceSeconds`; the API's objects stay. */
  stopPods(maxGraceSeconds?: number): Promise<void>;
}

/** Disposal ends the kubelet and leaves its Pods running: the next one with the same root takes them over. */
export async function startKubelet(options: KubeletOptions): Promise<RunningKubelet> {
  const { nodeName, rootDir, podLogsDir, log, config = {} } = options;
  await using stack = new AsyncDisposableStack();
  const podsDir = join(rootDir, "pods");
  await mkdir(podsDir, { recursive: true, mode: 0o750 });
  await chmod(podsDir, 0o751);
  await mkdir(podLogsDir, { recursive: true, mode: 0o755 });

  const client =
    "server" in options.api ? stack.use(createKubeClient({ userAgent: "orlop-kubelet", ...options.api })) : options.api;
  const runtime: Runtime =
    typeof options.criSocket === "string" ? stack.use(createCriClient(options.criSocket)) : options.criSocket;
  const { runtimeName, runtimeVersion } = await runtime.version({ version: "v1" }, { timeout: 30_000 });
  const machine: Machine = await inspectMachine(rootDir);
  const now = Date.now;
  const recorder = stack.use(createEventRecorder({ client, component: "kubelet", host: nodeName, log }));
  const imageBackoff = new Backoff(config.imageBackOff?.initial ?? 10_000, config.imageBackOff?.max ?? 300_000);
  const retryMs = config.retryPeriod ?? 10_000;
  const metrics = createMetrics();
  const records = await openPullRecords({
    directory: join(rootDir, "image_manager"),
    policy: config.imagePullCredentialsVerificationPolicy ?? "NeverVerifyPreloadedImages",
    allowlist: config.preloadedImagesVerificationAllowlist ?? [],
    images: async () => {
      const { images } = await runtime.listImages({}, { timeout: 30_000 });
      return images.map(({ id, repoTags, repoDigests }) => ({ id, names: [...repoTags, ...repoDigests] }));
    },
    now,
  });
  const limits = createPullLimits({
    maxParallel: config.maxParallelImagePulls ?? 0,
    qps: config.registryPullQPS ?? 5,
    burst: config.registryBurst ?? 10,
  });

  const keyring = nodeKeyring(rootDir, log);
  const { imageCredentialProviderConfigFile: configFile, imageCredentialProviderBinDir: binDir } = config;
  const plugins = configFile && binDir ? await openCredentialPlugins({ configFile, binDir, log, now }) : async () => [];
  const volumes = createVolumes({ podsDir, kernel: options.kernel });
  const usages = new Usages({
    runtime,
    podDirectory: (uid) => volumes.podDirectory(uid),
    podLogsDir,
    now,
    freshMs: config.volumeStatsAggPeriod ?? 60_000,
  });
  const measure = options.measure ?? machineMeasure(rootDir, runtime, log);
  const thresholds = parseThresholds(config.evictionHard ?? DEFAULT_THRESHOLDS);
  const allocatable = {
    cpu: machine.cores,
    memory: machine.memoryBytes - reservedBy(thresholds, "memory.available", machine.memoryBytes),
    "ephemeral-storage": machine.diskBytes - reservedBy(thresholds, "nodefs.available", machine.diskBytes),
  };
  const kubelet: Kubelet = {
    client,
    runtime,
    runtimeName,
    supportsRecursiveReadOnly: await supportsRecursiveReadOnly(runtime),
    recorder,
    puller: createImagePuller({
      runtime,
      recorder,
      backoff: imageBackoff,
      limits,
      records,
      metrics,
      now,
      retryMs,
      progressMs: config.pullProgressPeriod ?? 5000,
    }),
    imageBackoff,
    crashBackoff: new Backoff(config.crashLoopBackOff?.initial ?? 10_000, config.crashLoopBackOff?.max ?? 300_000),
    volumes,
    objects: createObjectReader(client),
    tokens: createTokenSource(client),
    services: createServiceReader(client, options.apiAddress),
    cgroups: createCgroups(
      config.cgroupRoot ?? `/orlop-${nodeName}`,
      config.cgroupDriver ?? (await cgroupDriver(runtime, log)),
      config.cgroupMountPoint,
    ),
    admission: { refusal: (pod) => eviction.refusal(pod) },
    measure,
    usages,
    rates: new ProcessorRates(1000),
    metrics,
    log,
    nodeName,
    hostIps: [options.nodeIp],
    podLogsDir,
    allocatable,
    dns: async () => ({
      clusterDns: config.clusterDNS ?? [],
      clusterDomain: config.clusterDomain ?? "cluster.local",
      resolvConf: await readFile(config.resolvConf ?? "/etc/resolv.conf", "utf8").catch(() => ""),
    }),
    nodeHosts: () => readFile("/etc/hosts", "utf8").catch(() => ""),
    nodeKeys: async (reference) => [
      ...matchKeys(await keyring(), reference),
      ...matchKeys(await plugins(reference), reference),
    ],
    now,
    syncMs: config.syncFrequency ?? 60_000,
    retryMs,
  };

  const server = stack.use(
    await startKubeletServer({
      host: options.host,
      port: options.port,
      certificate: options.serverCertificate,
      clientCa: options.clientCa,
    }),
  );
  const eviction = new Eviction({
    measure,
    thresholds,
    usages,
    pods: () => pods.list().filter((pod) => !isTerminal(pod) && pod.metadata?.deletionTimestamp === undefined),
    evict: (uid, message, isDisruption) => pods.evict(uid, message, isDisruption),
    reclaim: () => collector.removeUnused(),
    recorder,
    node: referenceToNode({ metadata: { name: nodeName } }),
    now,
    transitionMs: config.evictionPressureTransitionPeriod ?? 300_000,
  });
  // The first Pod is judged, and the first status written, by what is so now.
  await eviction.observe();
  const pods = stack.use(
    startPods(kubelet, {
      podsDir,
      events: options.runtimeEvents ?? ((call) => runtime.getContainerEvents({}, call)),
      relistMs: config.relistPeriod ?? 1000,
      quietRelistMs: config.quietRelistPeriod ?? 10_000,
    }),
  );
  server.serve(kubelet, pods);
  const renew = options.renewServerCertificate;
  if (renew) stack.use(repeat(RENEW_EVERY, log, "certificate renewal", async () => server.renew(await renew())));
  const collector = new ImageCollector({
    runtime,
    records,
    metrics,
    recorder,
    node: referenceToNode({ metadata: { name: nodeName } }),
    log,
    needed: () => pods.imageVolumes(),
    space: diskSpace,
    now,
    highPercent: config.imageGCHighThresholdPercent ?? 85,
    lowPercent: config.imageGCLowThresholdPercent ?? 80,
    minAgeMs: config.imageMinimumGCAge ?? 120_000,
    maxAgeMs: config.imageMaximumGCAge ?? 0,
  });
  const reporter = stack.use(
    startNodeReporter({
      client,
      runtime,
      recorder,
      log,
      nodeName,
      nodeIps: kubelet.hostIps,
      port: server.port,
      machine,
      allocatable,
      maxPods: config.maxPods ?? 110,
      heartbeatMs: config.nodeStatusUpdateFrequency ?? 10_000,
      runtimeVersion: `${runtimeName}://${runtimeVersion}`,
      pressures: () => eviction.pressures,
      now,
    }),
  );
  stack.use(repeat(config.imageGCPeriod ?? 300_000, log, "image collection", () => collector.collect()));
  stack.use(repeat(config.evictionMonitorPeriod ?? 10_000, log, "eviction", () => eviction.look()));
  const rotation = {
    maxBytes: config.containerLogMaxSize ?? 10 << 20,
    maxFiles: config.containerLogMaxFiles ?? 5,
  };
  stack.use(
    repeat(config.containerLogMonitorInterval ?? 10_000, log, "log rotation", () => rotateLogs(kubelet, rotation)),
  );
  const owned = stack.move();
  return {
    port: server.port,
    ready: Promise.all([reporter.ready, pods.synced]).then(() => undefined),
    stopPods: (maxGraceSeconds = 30) => pods.stopAll(maxGraceSeconds),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
