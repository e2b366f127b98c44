import { join } from "node:path";
import type { Pod } from "#k8s";
import { cri } from "#wire";
import { ANNOTATIONS, LABELS, type SandboxConfig } from "./cri.ts";
import { type Dns } from "./dns.ts";
import { nameOf, namespaceOf, specOf, uidOf } from "./pod.ts";
import { sandboxSecurity } from "./security.ts";

export interface SandboxSettings {
  readonly podLogsDir: string;
  readonly cgroupParent: string;
  readonly dns: Dns;
  readonly attempt: number;
  readonly nodeName: string;
}

/** Everything the runtime must know of a Pod before its containers. */
export function sandboxConfig(pod: Pod, settings: SandboxSettings): SandboxConfig {
  const spec = specOf(pod);
  const ports = (spec.containers ?? []).flatMap((container) => container.ports ?? []);
  return {
    metadata: { name: nameOf(pod), namespace: namespaceOf(pod), uid: uidOf(pod), attempt: settings.attempt },
    hostname: spec.hostNetwork ? "" : hostnameOf(pod),
    logDirectory: podLogsDirectory(settings.podLogsDir, pod),
    dnsConfig: settings.dns,
    portMappings: spec.hostNetwork
      ? []
      : ports
          .filter((port) => port.hostPort)
          .map((port) => ({
            protocol: cri.Protocol[(port.protocol ?? "TCP") as keyof typeof cri.Protocol],
            containerPort: port.containerPort,
            hostPort: port.hostPort ?? 0,
            hostIp: port.hostIP ?? "",
          })),
    labels: {
      ...pod.metadata?.labels,
      [LABELS.podName]: nameOf(pod),
      [LABELS.podNamespace]: namespaceOf(pod),
      [LABELS.podUid]: uidOf(pod),
    },
    annotations: { ...pod.metadata?.annotations, [ANNOTATIONS.node]: settings.nodeName },
    linux: {
      cgroupParent: settings.cgroupParent,
      securityContext: sandboxSecurity(pod),
      sysctls: Object.fromEntries((spec.securityContext?.sysctls ?? []).map(({ name, value }) => [name, value])),
    },
  };
}

export function hostnameOf(pod: Pod): string {
  return (specOf(pod).hostname || nameOf(pod)).slice(0, 63).replace(/[-.]+$/, "");
}

/** `<logs>/<namespace>_<name>_<uid>`: where stock tools look. */
export function podLogsDirectory(root: string, pod: Pod): string {
  return join(root, `${namespaceOf(pod)}_${nameOf(pod)}_${uidOf(pod)}`);
}
