import { isRecord, structOf, type PodSpec, type Type } from "#k8s";

/**
 * The API server shows a forbidden change of a Pod as a diff of its *internal* objects, whose fields have Go's names and an
 * order of their own. Types that differ from the published ones are listed; the rest follows the schema.
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
  dnsPolicy: "DNSPolicy",
  dnsConfig: "DNSConfig",
  tty: "TTY",
  nfs: "NFS",
  csi: "CSI",
  rbd: "RBD",
  iscsi: "ISCSI",
  fc: "FC",
  os: "OS",
  ip: "IP",
  uid: "UID",
  gcePersistentDisk: "GCEPersistentDisk",
  awsElasticBlockStore: "AWSElasticBlockStore",
  cephfs: "CephFS",
  storageos: "StorageOS",
  httpGet: "HTTPGet",
  httpHeaders: "HTTPHeaders",
  tcpSocket: "TCPSocket",
  grpc: "GRPC",
  fsType: "FSType",
  fsGroup: "FSGroup",
  fsGroupChangePolicy: "FSGroupChangePolicy",
  seLinuxOptions: "SELinuxOptions",
  seLinuxChangePolicy: "SELinuxChangePolicy",
};
const goName = (field: string): string => NAMES[field] ?? field.charAt(0).toUpperCase() + field.slice(1);

const BOOL = { kind: "bool" } as const;
const POINTER = { kind: "pointer", of: BOOL } as const;
const EXTRA: Readonly<Record<string, Type>> = {
  hostNetwork: BOOL,
  hostPID: BOOL,
  hostIPC: BOOL,
  shareProcessNamespace: POINTER,
  hostUsers: POINTER,
};

/** The unified diff, with three lines around, of two Pod specs as the server's memory has them. */
export function specDiff(before: PodSpec, after: PodSpec): string {
  return unifiedDiff(dump(before), dump(after));
}

/** The same for any value of a type in the schema. */
export function valueDiff(before: unknown, after: unknown, typeName: string): string {
  const text = (value: unknown): string[] =>
    JSON.stringify(internalOf(value, { kind: "struct", name: typeName }), undefined, 1).split("\n");
  return unifiedDiff(text(before), text(after));
}

function dump(spec: PodSpec): string[] {
  const security: Record<string, unknown> = { ...spec.securityContext };
  for (const field of MOVED) security[field] = spec[field];
  const internal = internalOf({ ...spec, securityContext: security }, { kind: "struct", name: "v1.PodSpec" });
  return JSON.stringify(internal, undefined, 1).split("\n");
}

function internalOf(value: unknown, type: Type): unknown {
  switch (type.kind) {
    case "pointer":
      return value == null ? null : internalOf(value, type.of);
    case "struct": {
      const given = isRecord(value) ? value : {};
      const fields = structOf(type.name);
      const names = ORDER[type.name] ?? [...fields.keys()];
      return Object.fromEntries(
        names.map((name) => [goName(name), internalOf(given[name], fields.get(name)?.type ?? EXTRA[name] ?? BOOL)]),
      );
    }
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

type Line = readonly [sign: " " | "-" | "+", text: string];

/** Lines that both share are found as the longest common subsequence between the equal head and the equal tail. */
export function unifiedDiff(before: readonly string[], after: readonly string[], around = 3): string {
  const lines = compare(before, after);
  let text = "";
  let [oldLine, newLine] = [1, 1];
  let at = 0;
  while (at < lines.length) {
    const change = lines.findIndex(([sign], i) => i >= at && sign !== " ");
    if (change < 0) break;
    let end = change;
    for (let i = change; i < lines.length && i <= end + 2 * around + 1; i++) if (lines[i]?.[0] !== " ") end = i;
    const from = Math.max(at, change - around);
    oldLine += from - at;
    newLine += from - at;
    const hunk = lines.slice(from, end + 1 + around);
    const oldCount = hunk.filter(([sign]) => sign !== "+").length;
    const newCount = hunk.filter(([sign]) => sign !== "-").length;
    text += `@@ -${position(oldLine, oldCount)} +${position(newLine, newCount)} @@\n`;
    text += hunk.map(([sign, line]) => `${sign}${line}\n`).join("");
    oldLine += oldCount;
    newLine += newCount;
    at = from + hunk.length;
  }
  return text;
}

const position = (line: number, count: number): string =>
  count === 1 ? String(line) : `${count === 0 ? line - 1 : line},${count}`;

function compare(before: readonly string[], after: readonly string[]): Line[] {
  let head = 0;
  while (head < before.length && head < after.length && before[head] === after[head]) head++;
  let tail = 0;
  while (tail < before.length - head && tail < after.length - head && before.at(-1 - tail) === after.at(-1 - tail))
    tail++;
  const a = before.slice(head, before.length - tail);
  const b = after.slice(head, after.length - tail);
  const longest = Array.from({ length: a.length + 1 }, () => new Uint32Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      longest[i]![j] = a[i] === b[j] ? longest[i + 1]![j + 1]! + 1 : Math.max(longest[i + 1]![j]!, longest[i]![j + 1]!);
  const lines: Line[] = before.slice(0, head).map((line) => [" ", line]);
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      lines.push([" ", a[i] ?? ""]);
      i++;
      j++;
    } else if (j >= b.length || (i < a.length && longest[i + 1]![j]! >= longest[i]![j + 1]!))
      lines.push(["-", a[i++] ?? ""]);
    else lines.push(["+", b[j++] ?? ""]);
  }
  return [...lines, ...before.slice(before.length - tail).map((line): Line => [" ", line])];
}
