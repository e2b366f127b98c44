import type { Log } from "#base";
import type { Pod } from "#k8s";
import type { Reference } from "#oci";
import type { KubeClient } from "#wire";
import type { Backoff } from "./backoff.ts";
import type { Runtime } from "./cri.ts";
import type { DnsSettings } from "./dns.ts";
import type { EventRecorder } from "./events.ts";
import type { ImagePuller } from "./image-puller.ts";
import type { ObjectReader } from "./objects.ts";
import type { ServiceReader } from "./services.ts";
import type { TokenSource } from "./service-account-token.ts";
import type { Volumes } from "./volumes.ts";
import type { PullCredential } from "./pull-records.ts";
import type { Cgroups } from "./cgroups.ts";
import type { Measure } from "./measure.ts";
import type { Metrics } from "./metrics.ts";
import type { ProcessorRates } from "./processor-rate.ts";
import type { Usages } from "./usage.ts";

/** Whether the node takes on new Pods. */
export interface Admission {
  /** Why not this one, in the words of its status; undefined where it does. */
  refusal(pod: Pod): string | undefined;
}

/** What all parts of one kubelet share. */
export interface Kubelet {
  readonly client: KubeClient;
  readonly runtime: Runtime;
  /** `containerd`: how container ids begin. */
  readonly runtimeName: string;
  /** The runtime can make all that is mounted below a mount read-only. */
  readonly supportsRecursiveReadOnly: boolean;
  readonly recorder: EventRecorder;
  readonly puller: ImagePuller;
  readonly imageBackoff: Backoff;
  readonly crashBackoff: Backoff;
  readonly volumes: Volumes;
  readonly objects: ObjectReader;
  readonly tokens: TokenSource;
  readonly services: ServiceReader;
  readonly cgroups: Cgroups;
  readonly admission: Admission;
  readonly measure: Measure;
  readonly usages: Usages;
  readonly rates: ProcessorRates;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly nodeName: string;
  readonly hostIps: readonly string[];
  readonly podLogsDir: string;
  /** Cores and bytes that Pods may use. */
  readonly allocatable: Readonly<Record<string, number>>;
  readonly dns: () => Promise<DnsSettings>;
  readonly nodeHosts: () => Promise<string>;
  /** The node's own registry logins for a reference, the last resort of a pull: those of its files, then those of its plugins. */
  readonly nodeKeys: (reference: Reference) => Promise<readonly PullCredential[]>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Between two looks at a Pod that nothing asked for, in milliseconds. */
  readonly syncMs: number;
  /** Between two tries of what failed, in milliseconds. */
  readonly retryMs: number;
}
