/** What HTTP_PROXY, HTTPS_PROXY and NO_PROXY hold. The daemon reads the environment; this room is told. */
export interface Proxies {
  readonly http?: string;
  readonly https?: string;
  /** Hosts that are asked directly: `localhost,.corp.example,10.0.0.0/8,registry:5000`, or `*`. */
  readonly no?: string;
}

/** The proxy for a URL, in curl's and Go's reading of the three variables. Loopback is never proxied. */
export function proxyOf(url: URL, proxies: Proxies): string | undefined {
  const proxy = url.protocol === "http:" ? proxies.http : proxies.https;
  if (proxy === undefined || proxy === "" || isExcepted(url, proxies.no ?? "")) return undefined;
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(proxy) ? proxy : `http://${proxy}`;
}

function isExcepted(url: URL, list: string): boolean {
  const host = url.hostname.replace(/^\[|\]$/g, "").toLowerCase();
  const port = url.port === "" ? (url.protocol === "http:" ? "80" : "443") : url.port;
  if (host === "localhost" || host === "::1" || /^127(?:\.\d{1,3}){3}$/.test(host)) return true;
  return list
    .split(/[\s,]+/)
    .filter((entry) => entry !== "")
    .some((entry) => matches(entry.toLowerCase(), host, port));
}

function matches(entry: string, host: string, port: string): boolean {
  if (entry === "*") return true;
  const [, network, bits] = /^([\d.]+)\/(\d{1,2})$/.exec(entry) ?? [];
  if (network !== undefined) return inNetwork(host, network, Number(bits));
  const [, name = entry, onlyPort] = /^(.*[^:]):(\d+)$/.exec(entry) ?? [];
  if (onlyPort !== undefined && onlyPort !== port) return false;
  const bare = name.replace(/^\*?\./, "");
  return (host === bare && !/^\*?\./.test(name)) || host.endsWith(`.${bare}`);
}

function inNetwork(host: string, network: string, bits: number): boolean {
  const address = ipv4(host);
  const base = ipv4(network);
  if (address === undefined || base === undefined || bits > 32) return false;
  const size = 2 ** (32 - bits);
  return Math.floor(address / size) === Math.floor(base / size);
}

function ipv4(text: string): number | undefined {
  if (!/^\d{1,3}(?:\.\d{1,3}){3}$/.test(text)) return undefined;
  return text.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
}
