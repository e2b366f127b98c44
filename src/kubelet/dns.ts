import type { Pod } from "#k8s";
import { namespaceOf, specOf } from "./pod.ts";

export interface Dns {
  readonly servers: string[];
  readonly searches: string[];
  readonly options: string[];
}

export interface DnsSettings {
  /** Of the cluster; empty where it has none, and then ClusterFirst means what Default means. */
  readonly clusterDns: readonly string[];
  readonly clusterDomain: string;
  /** The text of the node's resolv.conf. */
  readonly resolvConf: string;
}

const MAX_SERVERS = 3;

/** What a Pod's resolv.conf says, by its dnsPolicy and dnsConfig. */
export function dnsOf(pod: Pod, settings: DnsSettings): Dns {
  const spec = specOf(pod);
  const host = parseResolvConf(settings.resolvConf);
  const base = ((): Dns => {
    const policy = spec.dnsPolicy ?? "ClusterFirst";
    if (policy === "None") return { servers: [], searches: [], options: [] };
    const inCluster = policy === "ClusterFirstWithHostNet" || (policy === "ClusterFirst" && !spec.hostNetwork);
    if (!inCluster || settings.clusterDns.length === 0) return host;
    const domain = settings.clusterDomain;
    const searches = domain ? [`${namespaceOf(pod)}.svc.${domain}`, `svc.${domain}`, domain] : [];
    return {
      servers: [...settings.clusterDns],
      searches: [...searches, ...host.searches],
      options: ["ndots:5"],
    };
  })();
  const extra = spec.dnsConfig;
  const named = new Map(base.options.map((option) => [option.split(":")[0] ?? option, option]));
  for (const { name = "", value } of extra?.options ?? []) named.set(name, value ? `${name}:${value}` : name);
  return {
    servers: [...new Set([...base.servers, ...(extra?.nameservers ?? [])])].slice(0, MAX_SERVERS),
    searches: [...new Set([...base.searches, ...(extra?.searches ?? [])])],
    options: [...named.values()],
  };
}

function parseResolvConf(text: string): Dns {
  const dns: Dns = { servers: [], searches: [], options: [] };
  for (const line of text.split("\n")) {
    const [word, ...values] = line.trim().split(/\s+/);
    if (word === "nameserver" && values[0]) dns.servers.push(values[0]);
    else if (word === "search") dns.searches.splice(0, dns.searches.length, ...values);
    else if (word === "options") dns.options.push(...values);
  }
  return dns;
}
