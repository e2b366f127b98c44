import { isIP } from "node:net";
import { parseQuantity, type AnyContainer, type Pod, type PodAffinityTerm, type PodSpec } from "#k8s";
import { dnsLabelErrors, labelValueErrors } from "../names.ts";
import { APP_ARMOR, SECCOMP, SECCOMP_OF } from "./annotations.ts";
import { containersWithPaths } from "./rules.ts";
import { overlappingFiles } from "./warn-overlaps.ts";
import { portWarnings } from "./warn-ports.ts";

/** Volumes that the node of this house mounts; what else a Pod asks for is kept, and said to be missing. */
const MOUNTED = new Set(["configMap", "downwardAPI", "emptyDir", "hostPath", "image", "projected", "secret"]);

/** What a client should know of a Pod that is accepted: what this node cannot do, and what upstream warns of. */
export function podWarnings(pod: Pod): string[] {
  const spec: PodSpec = pod.spec ?? { containers: [] };
  const hostname = dnsLabelErrors(pod.metadata?.name ?? "");
  return [
    ...missing(spec),
    ...(hostname.length === 0
      ? []
      : [
          `metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [${hostname.join(" ")}]`,
        ]),
    ...templateWarnings(pod, ""),
  ];
}

function missing(spec: PodSpec): string[] {
  const found: string[] = [];
  for (const [i, volume] of (spec.volumes ?? []).entries())
    for (const source of Object.keys(volume))
      if (source !== "name" && !MOUNTED.has(source))
        found.push(`spec.volumes[${i}].${source}: this node cannot mount such a volume; the Pod will not start`);
  if ((spec.resourceClaims ?? []).length > 0)
    found.push("spec.resourceClaims: this node allocates no devices; the claims are ignored");
  if (spec.os?.name === "windows") found.push("spec.os.name: this node runs Linux containers only");
  return found;
}

/** Upstream's warnings for a Pod, or for the template at `field`. */
export function templateWarnings(template: Pod, field: string): string[] {
  const prefix = field === "" ? "" : `${field}.`;
  const spec: PodSpec = template.spec ?? { containers: [] };
  const annotations = template.metadata?.annotations ?? {};
  const at = `${prefix}spec`;
  const ips = (spec.dnsConfig?.nameservers ?? []).map((ip, i) => [`${at}.dnsConfig.nameservers[${i}]`, ip] as const);
  const aliases = (spec.hostAliases ?? []).map(({ ip = "" }, i) => [`${at}.hostAliases[${i}].ip`, ip] as const);
  return [
    ...placement(spec, at),
    ...oldAnnotations(annotations, `${prefix}metadata.annotations`),
    ...oldVolumes(spec, `${at}.volumes`),
    ...overlappingFiles(spec.volumes ?? []),
    ...repeated(spec.hostAliases, (alias) => alias.ip, `${at}.hostAliases`, "ip"),
    ...repeated(spec.imagePullSecrets, (secret) => secret.name, `${at}.imagePullSecrets`, "name"),
    ...(spec.imagePullSecrets ?? []).flatMap(({ name }, i) =>
      name ? [] : [`${at}.imagePullSecrets[${i}].name: invalid empty name ""`],
    ),
    ...BYTES.flatMap((name) => fraction(spec.overhead?.[name], `${at}.overhead[${name}]`)),
    ...(spec.securityContext?.seccompProfile === undefined
      ? oldSeccomp(annotations, SECCOMP, `${prefix}metadata.annotations`)
      : []),
    ...containersWithPaths(spec, at).flatMap(({ at: here, container }) => [
      ...profiles(container, annotations, spec, prefix),
      ...fractions(container, `${here}.resources`),
      ...hidden(container, `${here}.env`),
    ]),
    ...portWarnings(spec, at),
    ...((spec.terminationGracePeriodSeconds ?? 0) < 0
      ? [`${at}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1`]
      : []),
    ...affinity(spec, `${at}.affinity`),
    ...[...ips, ...aliases].flatMap(([where, ip]) => address(ip, where)),
  ];
}

const OLD_LABELS: Readonly<Record<string, string>> = {
  "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
  "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
  "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
  "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
  "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
  "app.kubernetes.io/created-by": "deprecated since v1.9",
  "scheduler.alpha.kubernetes.io/preferAvoidPods": "deprecated since v1.22; use Taints and Tolerations instead",
  "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
};

/** Labels of nodes that have a newer name, and selectors that select nothing. */
function placement(spec: PodSpec, at: string): string[] {
  const found: string[] = [];
  const old = (label: string, where: string, subject: string): void => {
    const words = OLD_LABELS[label];
    if (words !== undefined) found.push(`${where}: ${subject}${words}`);
  };
  for (const label of Object.keys(spec.nodeSelector ?? {})) old(label, `${at}.nodeSelector[${label}]`, "");
  const { requiredDuringSchedulingIgnoredDuringExecution: required, preferredDuringSchedulingIgnoredDuringExecution } =
    spec.affinity?.nodeAffinity ?? {};
  const nodes = `${at}.affinity.nodeAffinity`;
  for (const [i, term] of (required?.nodeSelectorTerms ?? []).entries())
    for (const [j, { key }] of (term.matchExpressions ?? []).entries())
      old(key, `${nodes}.${REQUIRED}.nodeSelectorTerms[${i}].matchExpressions[${j}].key`, `${key} is `);
  for (const [i, { preference }] of (preferredDuringSchedulingIgnoredDuringExecution ?? []).entries())
    for (const [j, { key, values = [] }] of (preference.matchExpressions ?? []).entries()) {
      const here = `${nodes}.${PREFERRED}[${i}].preference.matchExpressions[${j}]`;
      old(key, `${here}.key`, `${key} is `);
      for (const [k, value] of values.entries())
        for (const error of labelValueErrors(value)) found.push(`${here}.values[${k}]: ${value} is invalid, ${error}`);
    }
  for (const [i, { topologyKey, labelSelector }] of (spec.topologySpreadConstraints ?? []).entries()) {
    const here = `${at}.topologySpreadConstraints[${i}]`;
    old(topologyKey, `${here}.topologyKey`, `${topologyKey} is `);
    if (labelSelector === undefined) found.push(`${here}.labelSelector: ${MATCHES_NONE}`);
  }
  return found;
}

const REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution";
const MATCHES_NONE = "a null labelSelector results in matching no pod";

function affinity(spec: PodSpec, at: string): string[] {
  const { podAffinity, podAntiAffinity } = spec.affinity ?? {};
  const open = (term: PodAffinityTerm, where: string): string[] =>
    term.labelSelector === undefined ? [`${where}.labelSelector: ${MATCHES_NONE}`] : [];
  return Object.entries({ podAffinity, podAntiAffinity }).flatMap(([name, given]) => [
    ...(given?.[REQUIRED] ?? []).flatMap((term, i) => open(term, `${at}.${name}.${REQUIRED}[${i}]`)),
    ...(given?.[PREFERRED] ?? []).flatMap((term, i) =>
      open(term.podAffinityTerm, `${at}.${name}.${PREFERRED}[${i}].podAffinityTerm`),
    ),
  ]);
}

const OLD_ANNOTATIONS: Readonly<Record<string, string>> = {
  "scheduler.alpha.kubernetes.io/critical-pod": 'non-functional in v1.16+; use the "priorityClassName" field instead',
  "security.alpha.kubernetes.io/sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
  "security.alpha.kubernetes.io/unsafe-sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
};

type Annotations = Readonly<Record<string, string>>;

function oldAnnotations(annotations: Annotations, at: string): string[] {
  return Object.entries(OLD_ANNOTATIONS).flatMap(([key, words]) =>
    annotations[key] === undefined ? [] : [`${at}[${key}]: ${words}`],
  );
}

function oldSeccomp(annotations: Annotations, key: string, at: string): string[] {
  return annotations[key] === undefined
    ? []
    : [`${at}[${key}]: non-functional in v1.27+; use the "seccompProfile" field instead`];
}

/** Profiles of a container that only annotations name. A Pod's own for AppArmor become fields when it is made. */
function profiles(container: AnyContainer, annotations: Annotations, spec: PodSpec, prefix: string): string[] {
  const at = `${prefix}metadata.annotations`;
  const { seccompProfile, appArmorProfile } = container.securityContext ?? {};
  const key = APP_ARMOR + container.name;
  const isOld =
    prefix !== "" &&
    appArmorProfile === undefined &&
    annotations[key] !== undefined &&
    spec.securityContext?.appArmorProfile === undefined;
  return [
    ...(seccompProfile === undefined ? oldSeccomp(annotations, SECCOMP_OF + container.name, at) : []),
    ...(isOld ? [`${at}[${key}]: deprecated since v1.30; use the "appArmorProfile" field instead`] : []),
  ];
}

const OLD_VOLUMES: Readonly<Record<string, string>> = {
  photonPersistentDisk: "deprecated in v1.11, non-functional in v1.16+",
  gitRepo: "deprecated in v1.11, and disabled by default in v1.33+",
  scaleIO: "deprecated in v1.16, non-functional in v1.22+",
  flocker: "deprecated in v1.22, non-functional in v1.25+",
  storageos: "deprecated in v1.22, non-functional in v1.25+",
  quobyte: "deprecated in v1.22, non-functional in v1.25+",
  glusterfs: "deprecated in v1.25, non-functional in v1.26+",
  cephfs: "deprecated in v1.28, non-functional in v1.31+",
  rbd: "deprecated in v1.28, non-functional in v1.31+",
};

function oldVolumes(spec: PodSpec, at: string): string[] {
  return (spec.volumes ?? []).flatMap((volume, i) =>
    Object.entries(OLD_VOLUMES).flatMap(([source, words]) =>
      source in volume ? [`${at}[${i}].${source === "storageos" ? "storageOS" : source}: ${words}`] : [],
    ),
  );
}

function repeated<T>(
  items: readonly T[] | undefined,
  of: (item: T) => string | undefined,
  at: string,
  name: string,
): string[] {
  const seen = new Set<string>();
  return (items ?? []).flatMap((item, i) => {
    const value = of(item) ?? "";
    if (seen.has(value)) return [`${at}[${i}].${name}: duplicate ${name} ${JSON.stringify(value)}`];
    seen.add(value);
    return [];
  });
}

/** What is counted in bytes, which are never in parts. */
const BYTES = ["memory", "ephemeral-storage"];

function fraction(value: string | undefined, at: string): string[] {
  return value === undefined || parseQuantity(value).nano % 1_000_000_000n === 0n
    ? []
    : [`${at}: fractional byte value ${JSON.stringify(value)} is invalid, must be an integer`];
}

function fractions({ resources }: AnyContainer, at: string): string[] {
  return BYTES.flatMap((name) =>
    (["limits", "requests"] as const).flatMap((list) => fraction(resources?.[list]?.[name], `${at}.${list}[${name}]`)),
  );
}

function hidden(container: AnyContainer, at: string): string[] {
  const seen = new Set<string>();
  return (container.env ?? []).flatMap(({ name, value = "", valueFrom }, i) => {
    const self = `$(${name})`;
    const again = seen.has(name);
    seen.add(name);
    const bad = again && (valueFrom !== undefined || value === self || !value.includes(self));
    return bad
      ? [`${at}[${i}]: hides previous definition of ${JSON.stringify(name)}, which may be dropped when using apply`]
      : [];
  });
}

/** An IPv6 address that is written in another way than RFC 5952 would. */
function address(ip: string, at: string): string[] {
  if (isIP(ip) !== 6) return [];
  const canonical = new URL(`http://[${ip}]`).hostname.slice(1, -1);
  return canonical === ip
    ? []
    : [
        `${at}: IPv6 address ${JSON.stringify(ip)} should be in RFC 5952 canonical format (${JSON.stringify(canonical)})`,
      ];
}
