import type { VerificationPolicy } from "./allowlist.ts";

/** What upstream calls the kubelet configuration. Times in milliseconds. */
export interface KubeletConfig {
  readonly maxPods?: number;
  /** Between two looks at a Pod that nothing asked for. */
  readonly syncFrequency?: number;
  /** Between two looks at the runtime, where nobody says when something happens in it. */
  readonly relistPeriod?: number;
  /** Between two looks at most, where somebody does. */
  readonly quietRelistPeriod?: number;
  readonly nodeStatusUpdateFrequency?: number;
  /** 0: as many as there are. */
  readonly maxParallelImagePulls?: number;
  readonly registryPullQPS?: number;
  readonly registryBurst?: number;
  readonly imagePullCredentialsVerificationPolicy?: VerificationPolicy;
  readonly preloadedImagesVerificationAllowlist?: readonly string[];
  /** A `CredentialProviderConfig`, and where the programs are that it names. */
  readonly imageCredentialProviderConfigFile?: string;
  readonly imageCredentialProviderBinDir?: string;
  readonly clusterDNS?: readonly string[];
  readonly clusterDomain?: string;
  readonly resolvConf?: string;
  readonly cgroupDriver?: "cgroupfs" | "systemd";
  /** Default `/orlop-<node>`. */
  readonly cgroupRoot?: string;
  /** Where the cgroup hierarchies are mounted. Default `/sys/fs/cgroup`. */
  readonly cgroupMountPoint?: string;
  readonly imageBackOff?: { readonly initial: number; readonly max: number };
  readonly crashLoopBackOff?: { readonly initial: number; readonly max: number };
  /** Between two times that the Event of a pull says how far it is. */
  readonly pullProgressPeriod?: number;
  /** Percent of the disk in use at which images that nobody uses are removed, and down to which. */
  readonly imageGCHighThresholdPercent?: number;
  readonly imageGCLowThresholdPercent?: number;
  readonly imageMinimumGCAge?: number;
  /** 0: images do not age. */
  readonly imageMaximumGCAge?: number;
  readonly imageGCPeriod?: number;
  /** How little of a signal may be left, such as `memory.available`: `100Mi`, or a percentage. Default: upstream's. */
  readonly evictionHard?: Readonly<Record<string, string>>;
  /** How long a pressure is told of after it was last seen. */
  readonly evictionPressureTransitionPeriod?: number;
  readonly evictionMonitorPeriod?: number;
  /** How long the size of a volume or log is believed before it is measured again. */
  readonly volumeStatsAggPeriod?: number;
  /** Bytes of a container's log before it is rotated. */
  readonly containerLogMaxSize?: number;
  readonly containerLogMaxFiles?: number;
  readonly containerLogMonitorInterval?: number;
  /** Between two tries of what failed and has no back-off. */
  readonly retryPeriod?: number;
}
