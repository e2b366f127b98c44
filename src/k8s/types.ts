/** The objects of the Kubernetes API, as JSON carries them. What is newer than the published types is added here. */
import type * as core from "kubernetes-types/core/v1.js";
import type * as meta from "kubernetes-types/meta/v1.js";

declare module "kubernetes-types/core/v1.js" {
  interface Volume {
    /** KEP-4639 */
    image?: ImageVolumeSource;
  }
  interface VolumeMountStatus {
    /** KEP-5365 */
    volumeStatus?: { image?: { imageRef: string } };
  }
  interface ContainerStatus {
    volumeMounts?: VolumeMountStatus[];
    user?: { linux?: { uid: number; gid: number; supplementalGroups?: number[] } };
  }
  interface Container {
    /** KEP-5307 */
    restartPolicyRules?: ContainerRestartRule[];
  }
  interface EphemeralContainer {
    restartPolicyRules?: ContainerRestartRule[];
  }
  interface EnvVarSource {
    /** KEP-3721 */
    fileKeyRef?: { volumeName: string; path: string; key: string; optional?: boolean };
  }
  interface Lifecycle {
    /** KEP-4960 */
    stopSignal?: string;
  }
  interface PodSpec {
    /** KEP-2837 */
    resources?: core.ResourceRequirements;
    /** KEP-4762 */
    hostnameOverride?: string;
    /** KEP-4671 */
    schedulingGroup?: { podGroupName?: string };
  }
  interface PodSecurityContext {
    supplementalGroupsPolicy?: string;
    seLinuxChangePolicy?: string;
  }
  interface PodResourceClaim {
    resourceClaimName?: string;
    resourceClaimTemplateName?: string;
  }
  interface ResourceClaim {
    request?: string;
  }
  interface PodStatus {
    observedGeneration?: number;
  }
  interface PodCondition {
    observedGeneration?: number;
  }
}

export interface ContainerRestartRule {
  action: string;
  exitCodes?: { operator: string; values?: number[] };
}

export interface ImageVolumeSource {
  reference?: string;
  pullPolicy?: string;
}

export type Container = core.Container;
export type ContainerState = core.ContainerState;
export type ContainerStatus = core.ContainerStatus;
export type ConfigMap = core.ConfigMap;
export type EphemeralContainer = core.EphemeralContainer;
export type Event = core.Event;
export type Namespace = core.Namespace;
export type Node = core.Node;
export type NodeStatus = core.NodeStatus;
export type ObjectMeta = meta.ObjectMeta;
export type ObjectReference = core.ObjectReference;
export type OwnerReference = meta.OwnerReference;
export type Pod = core.Pod;
export type PodCondition = core.PodCondition;
export type PodSpec = core.PodSpec;
export type PodStatus = core.PodStatus;
export type Probe = core.Probe;
export type LifecycleHandler = core.LifecycleHandler;
export type Secret = core.Secret;
export type SecurityContext = core.SecurityContext;
export type ServiceAccount = core.ServiceAccount;
export type Status = meta.Status;
export type NodeSelectorTerm = core.NodeSelectorTerm;
export type PodAffinityTerm = core.PodAffinityTerm;
export type PodSecurityContext = core.PodSecurityContext;
export type ResourceRequirements = core.ResourceRequirements;
export type Toleration = core.Toleration;
export type TopologySpreadConstraint = core.TopologySpreadConstraint;
export type Volume = core.Volume;
export type VolumeMount = core.VolumeMount;
export type VolumeMountStatus = core.VolumeMountStatus;

/** What every object has, whatever its kind. */
export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata?: meta.ObjectMeta;
}
