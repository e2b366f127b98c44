/** The values that strings of the API may have, and the fields that are so bound. The order is that of the words. */
const VALUES: readonly (readonly [values: string, fields: string])[] = [
  [
    "Always IfNotPresent Never",
    "v1.Container.imagePullPolicy v1.EphemeralContainer.imagePullPolicy v1.ImageVolumeSource.pullPolicy",
  ],
  [
    "FallbackToLogsOnError File",
    "v1.Container.terminationMessagePolicy v1.EphemeralContainer.terminationMessagePolicy",
  ],
  ["Always Never OnFailure", "v1.PodSpec.restartPolicy"],
  ["ClusterFirst ClusterFirstWithHostNet Default None", "v1.PodSpec.dnsPolicy"],
  ["Never PreemptLowerPriority", "v1.PodSpec.preemptionPolicy"],
  ["Failed Pending Running Succeeded Unknown", "v1.PodStatus.phase"],
  ["BestEffort Burstable Guaranteed", "v1.PodStatus.qosClass"],
  ["SCTP TCP UDP", "v1.ContainerPort.protocol"],
  ["HTTP HTTPS", "v1.HTTPGetAction.scheme"],
  ["NoExecute NoSchedule PreferNoSchedule", "v1.Taint.effect v1.Toleration.effect"],
  ["Equal Exists Gt Lt", "v1.Toleration.operator"],
  ["DoesNotExist Exists Gt In Lt NotIn", "v1.NodeSelectorRequirement.operator"],
  ["Bidirectional HostToContainer None", "v1.VolumeMount.mountPropagation"],
  [" BlockDevice CharDevice Directory DirectoryOrCreate File FileOrCreate Socket", "v1.HostPathVolumeSource.type"],
  ["Active Terminating", "v1.NamespaceStatus.phase"],
  ["Pending Running Terminated", "v1.NodeStatus.phase"],
  ["Localhost RuntimeDefault Unconfined", "v1.AppArmorProfile.type v1.SeccompProfile.type"],
  ["Always OnRootMismatch", "v1.PodSecurityContext.fsGroupChangePolicy"],
  ["Merge Strict", "v1.PodSecurityContext.supplementalGroupsPolicy"],
  ["Default Unmasked", "v1.SecurityContext.procMount"],
  ["DoNotSchedule ScheduleAnyway", "v1.TopologySpreadConstraint.whenUnsatisfiable"],
  ["Honor Ignore", "v1.TopologySpreadConstraint.nodeAffinityPolicy v1.TopologySpreadConstraint.nodeTaintsPolicy"],
  ["Block Filesystem", "v1.PersistentVolumeClaimSpec.volumeMode"],
  ["None ReadOnly ReadWrite", "v1.AzureDiskVolumeSource.cachingMode"],
  ["Dedicated Managed Shared", "v1.AzureDiskVolumeSource.kind"],
];

/** By type and field (`v1.PodSpec.restartPolicy`). */
export const ENUMS: ReadonlyMap<string, readonly string[]> = new Map(
  VALUES.flatMap(([values, fields]) => fields.split(" ").map((field) => [field, values.split(" ")])),
);
