import { parseQuantity, type AnyContainer, type Pod, type PodSpec } from "#k8s";

/** Volumes that the node of this house mounts; what else a Pod asks for is kept, and said to be missing. */
const MOUNTED = new Set(["configMap", "downwardAPI", "emptyDir", "hostPath", "image", "projected", "secret"]);

/** What a client should know of a Pod that is accepted: upstream's warnings, and what this node cannot do. */
export function podWarnings(pod: Pod): string[] {
  const spec: PodSpec = pod.spec ?? { containers: [] };
  const found: string[] = [];
  for (const [i, volume] of (spec.volumes ?? []).entries())
    for (const source of Object.keys(volume))
      if (source !== "name" && !MOUNTED.has(source))
        found.push(`spec.volumes[${i}].${source}: this node cannot mount such a volume; the Pod will not start`);
  if ((spec.resourceClaims ?? []).length > 0)
    found.push("spec.resourceClaims: this node allocates no devices; the claims are ignored");
  if (spec.os?.name === "windows") found.push("spec.os.name: this node runs Linux containers only");
  found.push(...duplicates(spec.hostAliases, (alias) => alias.ip, "spec.hostAliases", "ip"));
  found.push(...duplicates(spec.imagePullSecrets, (secret) => secret.name, "spec.imagePullSecrets", "name"));
  for (const [i, secret] of (spec.imagePullSecrets ?? []).entries())
    if (!secret.name) found.push(`spec.imagePullSecrets[${i}].name: invalid empty name ""`);
  const containers: [string, AnyContainer][] = [
    ...(spec.initContainers ?? []).map((c, i): [string, AnyContainer] => [`spec.initContainers[${i}]`, c]),
    ...spec.containers.map((c, i): [string, AnyContainer] => [`spec.containers[${i}]`, c]),
  ];
  const ports = new Map<string, { field: string; hostIP: string; hostPort: number }[]>();
  const names = new Map<string, string>();
  for (const [at, container] of containers) {
    found.push(...fractions(at, container), ...hidden(at, container));
    for (const [i, port] of (container.ports ?? []).entries()) {
      const field = `${at}.ports[${i}]`;
      const here = { field, hostIP: port.hostIP ?? "", hostPort: port.hostPort ?? 0 };
      const key = `${port.containerPort}/${port.protocol}`;
      for (const other of ports.get(key) ?? []) {
        if (here.hostIP === other.hostIP && here.hostPort === other.hostPort)
          found.push(`${field}: duplicate port definition with ${other.field}`);
        else if (here.hostPort === 0 || other.hostPort === 0)
          found.push(`${field}: overlapping port definition with ${other.field}`);
        else if (here.hostPort === other.hostPort && (here.hostIP === "") !== (other.hostIP === ""))
          found.push(`${field}: dangerously ambiguous port definition with ${other.field}`);
      }
      ports.set(key, [...(ports.get(key) ?? []), here]);
      if (!port.name) continue;
      const other = names.get(port.name);
      if (other === undefined) names.set(port.name, field);
      else
        found.push(
          `${field}: duplicate port name ${JSON.stringify(port.name)} with ${other}, services and probes that select ports by name will use ${other}`,
        );
    }
  }
  if ((spec.terminationGracePeriodSeconds ?? 0) < 0)
    found.push(
      "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
    );
  return found;
}

function duplicates<T>(
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

function fractions(at: string, container: AnyContainer): string[] {
  const found: string[] = [];
  for (const name of ["memory", "ephemeral-storage"])
    for (const list of ["limits", "requests"] as const) {
      const value = container.resources?.[list]?.[name];
      if (value !== undefined && parseQuantity(value).nano % 1_000_000_000n !== 0n)
        found.push(
          `${at}.resources.${list}[${name}]: fractional byte value ${JSON.stringify(value)} is invalid, must be an integer`,
        );
    }
  return found;
}

function hidden(at: string, container: AnyContainer): string[] {
  const seen = new Set<string>();
  return (container.env ?? []).flatMap(({ name, value = "", valueFrom }, i) => {
    const self = `$(${name})`;
    const again = seen.has(name);
    seen.add(name);
    const bad = again && (valueFrom !== undefined || value === self || !value.includes(self));
    return bad
      ? [`${at}.env[${i}]: hides previous definition of ${JSON.stringify(name)}, which may be dropped when using apply`]
      : [];
  });
}
