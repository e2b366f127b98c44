import type { PodSpec } from "#k8s";
import { containersWithPaths } from "./rules.ts";

interface Place {
  readonly field: string;
  readonly hostIP: string;
  readonly hostPort: number;
}

/** Ports that are named, or taken, twice in one Pod. */
export function portWarnings(spec: PodSpec, at: string): string[] {
  const found: string[] = [];
  const places = new Map<string, Place[]>();
  const all = containersWithPaths(spec, at).flatMap((of) =>
    (of.container.ports ?? []).map((port, i) => ({ field: `${of.at}.ports[${i}]`, port })),
  );
  for (const { field, port } of all) {
    const { name = "", hostIP = "", hostPort = 0, containerPort, protocol = "" } = port;
    if (hostIP !== "" && hostPort === 0)
      found.push(
        `${field}: hostIP set without hostPort: {Name:${name} HostPort:0 ContainerPort:${containerPort} Protocol:${protocol} HostIP:${hostIP}}`,
      );
    const key = `${containerPort}/${protocol}`;
    const others = places.get(key) ?? [];
    for (const other of others) {
      const how = clash({ field, hostIP, hostPort }, other);
      if (how !== undefined) found.push(`${field}: ${how} port definition with ${other.field}`);
    }
    places.set(key, [...others, { field, hostIP, hostPort }]);
  }
  const names = new Map<string, string>();
  for (const { field, port } of all) {
    if (!port.name) continue;
    const first = names.get(port.name);
    if (first === undefined) names.set(port.name, field);
    else
      found.push(
        `${field}: duplicate port name ${JSON.stringify(port.name)} with ${first}, services and probes that select ports by name will use ${first}`,
      );
  }
  return found;
}

function clash(one: Place, other: Place): string | undefined {
  if (one.hostIP === other.hostIP && one.hostPort === other.hostPort) return "duplicate";
  if (one.hostPort === 0 || other.hostPort === 0) return "overlapping";
  const isOpen = (one.hostIP === "") !== (other.hostIP === "");
  return one.hostPort === other.hostPort && isOpen ? "dangerously ambiguous" : undefined;
}
