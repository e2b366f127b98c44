import { readFile, readdir, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parse } from "smol-toml";
import { errnoOf, Failure, messageOf } from "#base";
import {
  ALL_CAPABILITIES,
  apiHost,
  DIAL_TIMEOUT,
  originEndpoint,
  PLAIN_TRUST,
  type Capability,
  type Endpoint,
  type TlsProfile,
} from "./endpoint.ts";
import { tomlMessage } from "./toml-message.ts";

const CAPABILITIES: readonly string[] = ["pull", "resolve", "push"];
const UNIT: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/**
 * What containerd's `certs.d` says about a registry: its mirrors in file order, the `server` last. Read at each call, so
 * that an edit takes effect with the next pull. Undefined where the directory has nothing for it.
 * https://github.com/containerd/containerd/blob/main/docs/hosts.md
 *
 * @throws Failure INVALID_HOSTS_CONFIG naming the file and the field.
 */
export async function readHostsToml(
  certsDir: string,
  registry: string,
  repository: string,
): Promise<readonly Endpoint[] | undefined> {
  const dir = await directoryOf(certsDir, registry);
  if (dir === undefined) return undefined;
  const file = join(dir, "hosts.toml");
  const text = await readText(file);
  if (text === undefined) return [originEndpoint(registry, repository, await certificateFiles(dir))];

  let root: Record<string, unknown>;
  try {
    root = parse(text);
  } catch (cause) {
    throw invalid(file, tomlMessage(cause), cause);
  }
  const endpoints: Endpoint[] = [];
  for (const [url, host] of Object.entries(table(root["host"] ?? {}, file, "host")))
    endpoints.push(await endpoint(url, table(host, file, `host."${url}"`), { file, dir, registry, repository }));
  const server = root["server"];
  if (server !== undefined && typeof server !== "string") throw invalid(file, "server is not a string");
  if (server === undefined) {
    const origin = originEndpoint(registry, repository);
    const configured = await endpoint(origin.base, root, { file, dir, registry, repository });
    const isBare = root["skip_verify"] === undefined && root["ca"] === undefined;
    endpoints.push({
      ...configured,
      tls: isBare ? { ...configured.tls, skipVerify: origin.tls.skipVerify } : configured.tls,
      mayFallBackToHttp: origin.mayFallBackToHttp,
    });
  } else endpoints.push(await endpoint(server, root, { file, dir, registry, repository }));
  return endpoints;
}

interface Place {
  readonly file: string;
  readonly dir: string;
  readonly registry: string;
  readonly repository: string;
}

async function endpoint(written: string, fields: Record<string, unknown>, place: Place): Promise<Endpoint> {
  const { file, dir, registry, repository } = place;
  let url: URL;
  try {
    url = new URL(/^https?:\/\//.test(written) ? written : `https://${written}`);
  } catch (cause) {
    throw invalid(file, `${JSON.stringify(written)} is not a URL`, cause);
  }
  const path = url.pathname.replace(/\/+$/, "");
  const isWhole = path.endsWith("/v2") || fields["override_path"] === true;
  const host = apiHost(url.host);
  const isOrigin = host === apiHost(registry);
  const proxy = fields["proxy"];
  if (proxy !== undefined && (typeof proxy !== "string" || !URL.canParse(proxy)))
    throw invalid(file, "proxy is not a URL");
  return {
    base: `${url.protocol}//${host}${path}${isWhole ? "" : "/v2"}`,
    host,
    repository,
    isOrigin,
    capabilities: capabilities(fields["capabilities"], file),
    serves: "all",
    ...(isOrigin ? {} : { namespace: registry }),
    headers: headers(fields["header"], file),
    tls: await tlsProfile(fields, file, dir),
    dialTimeout: duration(fields["dial_timeout"], file),
    ...(proxy === undefined ? {} : { proxy }),
    mayFallBackToHttp: false,
  };
}

/** `host_port_`, then `host:port`, then `_default`. */
async function directoryOf(certsDir: string, registry: string): Promise<string | undefined> {
  const colon = registry.lastIndexOf(":");
  const names = [registry, "_default"];
  if (colon > 0 && /^\d+$/.test(registry.slice(colon + 1)))
    names.unshift(`${registry.slice(0, colon)}_${registry.slice(colon + 1)}_`);
  for (const name of names) {
    const dir = join(certsDir, name);
    if (
      await stat(dir).then(
        (found) => found.isDirectory(),
        () => false,
      )
    )
      return dir;
  }
  return undefined;
}

/** Docker's pattern where there is no hosts.toml: `*.crt` are authorities, `x.cert` with `x.key` is ours. */
async function certificateFiles(dir: string): Promise<TlsProfile> {
  const names = (await readdir(dir)).sort();
  const read = (name: string): Promise<string> => mustRead(join(dir, name), dir);
  const ca = await Promise.all(names.filter((name) => name.endsWith(".crt")).map(read));
  const pairs = names.filter((name) => name.endsWith(".cert") && names.includes(name.replace(/cert$/, "key")));
  const client = await Promise.all(
    pairs.map(async (name) => ({ cert: await read(name), key: await read(name.replace(/cert$/, "key")) })),
  );
  return { ...PLAIN_TRUST, ca, client };
}

async function tlsProfile(fields: Record<string, unknown>, file: string, dir: string): Promise<TlsProfile> {
  const read = (path: string): Promise<string> => mustRead(resolve(dir, path), file);
  const { ca, client, skip_verify: skipVerify } = fields;
  if (skipVerify !== undefined && typeof skipVerify !== "boolean")
    throw invalid(file, "skip_verify is not true or false");
  const pairs = strings(client, file, "client", (item) => {
    if (typeof item === "string") return [item, item] as const;
    if (!Array.isArray(item) || typeof item[0] !== "string") throw invalid(file, "client is not a path or a pair");
    const key: unknown = item[1];
    return [item[0], typeof key === "string" && key !== "" ? key : item[0]] as const;
  });
  return {
    ca: await Promise.all(strings(ca, file, "ca").map(read)),
    client: await Promise.all(pairs.map(async ([cert, key]) => ({ cert: await read(cert), key: await read(key) }))),
    skipVerify: skipVerify ?? false,
  };
}

function capabilities(value: unknown, file: string): ReadonlySet<Capability> {
  if (value === undefined) return ALL_CAPABILITIES;
  // Other words (containerd has had "referrers") say nothing about what we ask for.
  return new Set(
    strings(value, file, "capabilities").filter((word): word is Capability => CAPABILITIES.includes(word)),
  );
}

function headers(value: unknown, file: string): Readonly<Record<string, string>> {
  const fields = Object.entries(table(value ?? {}, file, "header"));
  return Object.fromEntries(fields.map(([name, text]) => [name.toLowerCase(), strings(text, file, name).join(", ")]));
}

/** Go's form: `200ms`, `1m30s`. Milliseconds. */
function duration(value: unknown, file: string): number {
  if (value === undefined) return DIAL_TIMEOUT;
  const text = typeof value === "string" ? value : "";
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)];
  if (text === "" || parts.map((part) => part[0]).join("") !== text)
    throw invalid(file, `dial_timeout is not a duration such as "200ms"`);
  return Math.max(
    1,
    parts.reduce((sum, [, count, unit]) => sum + Number(count) * (UNIT[unit ?? ""] ?? 0), 0),
  );
}

function strings(value: unknown, file: string, field: string): readonly string[];
function strings<T>(value: unknown, file: string, field: string, read: (item: unknown) => T): readonly T[];
function strings(value: unknown, file: string, field: string, read?: (item: unknown) => unknown): readonly unknown[] {
  const items: readonly unknown[] = value === undefined ? [] : Array.isArray(value) ? value : [value];
  if (read !== undefined) return items.map(read);
  if (items.some((item) => typeof item !== "string")) throw invalid(file, `${field} is not a string or a list of them`);
  return items;
}

function table(value: unknown, file: string, field: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw invalid(file, `${field} is not a table`);
}

async function readText(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    if (errnoOf(cause) === "ENOENT") return undefined;
    throw invalid(file, messageOf(cause), cause);
  }
}

async function mustRead(path: string, file: string): Promise<string> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    throw invalid(file, `cannot read the certificate ${path}: ${errnoOf(cause) ?? messageOf(cause)}`, cause);
  }
  // OpenSSL passes over what is none, and then nobody is trusted and nobody knows why.
  if (!text.includes("-----BEGIN ")) throw invalid(file, `${path} holds neither a certificate nor a key in PEM`);
  return text;
}

function invalid(file: string, what: string, cause?: unknown): Failure {
  return new Failure("FAILED_PRECONDITION", "INVALID_HOSTS_CONFIG", `${file} cannot be used: ${what}`, { cause });
}
