import { isRecord, structOf, type PodSpec, type Type } from "#k8s";

/**
 * The API server shows its *internal* objects, whose fields have Go's names and an order of their own, where it shows what
 * was changed. Types that differ from the published ones are listed; the rest follows the schema.
 */
const ORDER: Readonly<Record<string, readonly string[]>> = {
  "v1.PodSpec":
    "volumes initContainers containers ephemeralContainers restartPolicy terminationGracePeriodSeconds activeDeadlineSeconds dnsPolicy nodeSelector serviceAccountName automountServiceAccountToken nodeName securityContext imagePullSecrets hostname subdomain setHostnameAsFQDN affinity schedulerName tolerations hostAliases priorityClassName priority preemptionPolicy dnsConfig readinessGates runtimeClassName overhead enableServiceLinks topologySpreadConstraints os schedulingGates resourceClaims resources hostnameOverride schedulingGroup".split(
      " ",
    ),
  "v1.Volume":
    "name hostPath emptyDir gcePersistentDisk awsElasticBlockStore gitRepo secret nfs iscsi glusterfs persistentVolumeClaim rbd quobyte flexVolume cinder cephfs flocker downwardAPI fc azureFile configMap vsphereVolume azureDisk photonPersistentDisk projected portworxVolume scaleIO storageos csi ephemeral image".split(
      " ",
    ),
  "v1.PodSecurityContext":
    "hostNetwork hostPID hostIPC shareProcessNamespace hostUsers seLinuxOptions windowsOptions runAsUser runAsGroup runAsNonRoot supplementalGroups supplementalGroupsPolicy fsGroup fsGroupChangePolicy sysctls seccompProfile appArmorProfile seLinuxChangePolicy".split(
      " ",
    ),
};

/** Fields of the spec that the internal object keeps in its security context. */
const MOVED = ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers"] as const;

const NAMES: Readonly<Record<string, string>> = {
  apiGroup: "APIGroup",
  apiVersion: "APIVersion",
  awsElasticBlockStore: "AWSElasticBlockStore",
  cephfs: "CephFS",
  chapAuthDiscovery: "DiscoveryCHAPAuth",
  chapAuthSession: "SessionCHAPAuth",
  csi: "CSI",
  diskURI: "DataDiskURI",
  dnsConfig: "DNSConfig",
  dnsPolicy: "DNSPolicy",
  fc: "FC",
  fsGroup: "FSGroup",
  fsGroupChangePolicy: "FSGroupChangePolicy",
  fsType: "FSType",
  gcePersistentDisk: "GCEPersistentDisk",
  gmsaCredentialSpec: "GMSACredentialSpec",
  gmsaCredentialSpecName: "GMSACredentialSpecName",
  grpc: "GRPC",
  httpGet: "HTTPGet",
  httpHeaders: "HTTPHeaders",
  ip: "IP",
  iqn: "IQN",
  iscsi: "ISCSI",
  iscsiInterface: "ISCSIInterface",
  nfs: "NFS",
  os: "OS",
  pdName: "PDName",
  rbd: "RBD",
  seLinuxChangePolicy: "SELinuxChangePolicy",
  seLinuxOptions: "SELinuxOptions",
  sslEnabled: "SSLEnabled",
  storageos: "StorageOS",
  tcpSocket: "TCPSocket",
  tty: "TTY",
  uid: "UID",
  wwids: "WWIDs",
};
/** Names that a field has in one type alone. */
const NAMES_OF: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "v1.GlusterfsVolumeSource": { endpoints: "EndpointsName" },
  "v1.RBDVolumeSource": { monitors: "CephMonitors", image: "RBDImage", pool: "RBDPool", user: "RadosUser" },
};

function goName(field: string, typeName: string): string {
  return NAMES_OF[typeName]?.[field] ?? NAMES[field] ?? field.charAt(0).toUpperCase() + field.slice(1);
}

const BOOL = { kind: "bool" } as const;
const POINTER = { kind: "pointer", of: BOOL } as const;
const EXTRA: Readonly<Record<string, Type>> = {
  hostNetwork: BOOL,
  hostPID: BOOL,
  hostIPC: BOOL,
  shareProcessNamespace: POINTER,
  hostUsers: POINTER,
};

/** A Pod's spec as the server's memory has it. */
export function internalSpec(spec: PodSpec): unknown {
  const security: Record<string, unknown> = { ...spec.securityContext };
  for (const field of MOVED) security[field] = spec[field];
  return internalValue({ ...spec, securityContext: security }, "v1.PodSpec");
}

/** The same for a value of any type in the schema. */
export function internalValue(value: unknown, typeName: string): unknown {
  return internalOf(value, { kind: "struct", name: typeName });
}

function internalOf(value: unknown, type: Type): unknown {
  switch (type.kind) {
    case "pointer":
      return value == null ? null : internalOf(value, type.of);
    case "struct":
      return structFields(isRecord(value) ? value : {}, type.name);
    case "list":
      return Array.isArray(value) && value.length > 0 ? value.map((item) => internalOf(item, type.of)) : null;
    case "map":
      return isRecord(value)
        ? Object.fromEntries(Object.entries(value).map(([key, item]) => [key, internalOf(item, type.of)]))
        : null;
    case "string":
    case "bytes":
      return value ?? "";
    case "bool":
      return value ?? false;
    case "int":
    case "float":
    case "intstr":
      return value ?? 0;
    case "quantity":
      return value ?? "0";
    case "time":
    case "microtime":
    case "any":
    default:
      return value ?? null;
  }
}

function structFields(given: Record<string, unknown>, typeName: string): Record<string, unknown> {
  // What is not internal to the server (a label selector) is written as the API has it.
  if (typeName.startsWith("metav1.")) return given;
  const fields = structOf(typeName);
  const names = ORDER[typeName] ?? [...fields.keys()];
  return Object.fromEntries(
    names.map((name) => [
      goName(name, typeName),
      internalOf(given[name], fields.get(name)?.type ?? EXTRA[name] ?? BOOL),
    ]),
  );
}
