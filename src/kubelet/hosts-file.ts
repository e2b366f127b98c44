import type { Pod } from "#k8s";
import { specOf } from "./pod.ts";
import { hostnameOf } from "./sandbox-config.ts";

/** A Pod's /etc/hosts: its own name, the hostAliases, and with hostNetwork what the node's says. */
export function hostsFile(pod: Pod, ips: readonly string[], nodeHosts: string): string {
  const { hostNetwork, hostAliases = [], subdomain } = specOf(pod);
  const names = subdomain
    ? `${hostnameOf(pod)}.${subdomain}.${pod.metadata?.namespace}.svc.cluster.local\t${hostnameOf(pod)}`
    : hostnameOf(pod);
  const head = hostNetwork
    ? `# Kubernetes-managed hosts file (host network).\n${nodeHosts}`
    : [
        "# Kubernetes-managed hosts file.",
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::0\tip6-localnet",
        "fe00::0\tip6-mcastprefix",
        "fe00::1\tip6-allnodes",
        "fe00::2\tip6-allrouters",
        ...ips.map((ip) => `${ip}\t${names}`),
        "",
      ].join("\n");
  if (hostAliases.length === 0) return head;
  const aliases = hostAliases.map(({ ip, hostnames = [] }) => `${ip}\t${hostnames.join("\t")}`);
  return `${head}\n# Entries added by HostAliases.\n${aliases.join("\n")}\n`;
}
