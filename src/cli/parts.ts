import type { Engine, Watermarks } from "#engine";

/** Where the node keeps its things. Every command takes these three. */
export interface Places {
  readonly dataDir: string;
  readonly runDir: string;
  /** containerd's `certs.d`: which host serves which registry. */
  readonly certsDir: string;
}

export interface ApiServerFlags {
  readonly host: string;
  readonly port: number;
  /** Where the administrator's kubeconfig is written. */
  readonly kubeconfig: string;
  /** These three as they were written; the API server reads them. */
  readonly featureGates?: string;
  readonly admissionPlugins?: string;
  readonly emulatedVersion?: string;
}

export interface NodeFlags {
  readonly nodeName: string;
  readonly imageAccess: ImageAccess;
  /** How little of what may be left before Pods are evicted; absent: upstream's thresholds. */
  readonly evictionHard?: Readonly<Record<string, string>>;
}

/** Who may use the images of a node, and who gives logins for them, as upstream's kubelet configuration names it. */
export interface ImageAccess {
  readonly imageCredentialProviderConfigFile?: string;
  readonly imageCredentialProviderBinDir?: string;
  readonly imagePullCredentialsVerificationPolicy?: (typeof VERIFICATION_POLICIES)[number];
  readonly preloadedImagesVerificationAllowlist?: readonly string[];
}

export const VERIFICATION_POLICIES = [
  "NeverVerify",
  "NeverVerifyPreloadedImages",
  "NeverVerifyAllowlistedImages",
  "AlwaysVerify",
] as const;

export interface KubeletFlags extends NodeFlags {
  /** The kubeconfig to reach the API server with. */
  readonly kubeconfig: string;
  readonly criSocket: string;
}

export interface VolumeFlags {
  /** Whether Pods may run programs from their image volumes, where they ask for it. */
  readonly allowExec: boolean;
  /** Absent: only `prune` and the kubelet collect. */
  readonly watermarks?: Watermarks;
}

export interface CriFlags extends VolumeFlags {
  readonly listen: string;
  readonly containerd: string;
}

export interface UpFlags extends ApiServerFlags, NodeFlags, VolumeFlags {
  /** An existing containerd's socket; absent means one of our own. */
  readonly containerd?: string;
  readonly sandboxImage: string;
}

/** One thing `orlop doctor` looked at. */
export interface Check {
  readonly name: string;
  readonly state: "ok" | "warning" | "error";
  /** What was found. */
  readonly found: string;
  /** What the lack costs, and what to do; empty when all is well. */
  readonly cost: string;
}

/** What a long-running command says to the person who started it. */
export type Say = (line: string) => void;

/** What the commands call. Built in `daemon/`, so that this room constructs nothing. */
export interface Parts {
  readonly version: string;
  openEngine(places: Places, signal: AbortSignal): Promise<Engine>;
  /** Each of these returns when `signal` is aborted and everything it started is gone. */
  up(places: Places, flags: UpFlags, say: Say, signal: AbortSignal): Promise<void>;
  apiserver(places: Places, flags: ApiServerFlags, say: Say, signal: AbortSignal): Promise<void>;
  kubelet(places: Places, flags: KubeletFlags, say: Say, signal: AbortSignal): Promise<void>;
  cri(places: Places, flags: CriFlags, say: Say, signal: AbortSignal): Promise<void>;
  doctor(places: Places): Promise<readonly Check[]>;
}
