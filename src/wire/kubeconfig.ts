import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { Failure, isFailure, messageOf } from "#base";
import { parseYaml } from "#k8s";

/** What a client needs to reach the cluster of a kubeconfig's context. PEM throughout. */
export interface ClientConfig {
  readonly server: string;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** Reads both anew, where one of them stands in a file that others renew. */
  readonly renewed?: () => { readonly cert: string; readonly key: string };
  /** A bearer token; a function where it stands in a file that others renew. */
  readonly token?: string | (() => string);
  readonly insecureSkipTlsVerify?: boolean;
  /** The name to check the server's certificate against, where it is not the URL's. */
  readonly serverName?: string;
  /** Of the context; `default` where it says nothing. */
  readonly namespace: string;
}

/** A kubeconfig, as YAML, with one cluster, one user and one context, all called `name`. */
export function kubeconfig(options: {
  readonly server: string;
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  readonly name: string;
}): string {
  const name = JSON.stringify(options.name);
  const base64 = (text: string): string => Buffer.from(text).toString("base64");
  return `apiVersion: v1
kind: Config
clusters:
  - name: ${name}
    cluster:
      server: ${JSON.stringify(options.server)}
      certificate-authority-data: ${base64(options.ca)}
users:
  - name: ${name}
    user:
      client-certificate-data: ${base64(options.cert)}
      client-key-data: ${base64(options.key)}
contexts:
  - name: ${name}
    context:
      cluster: ${name}
      user: ${name}
current-context: ${name}
`;
}

type Fields = Readonly<Record<string, unknown>>;

/**
 * Reads the context that a kubeconfig names as its current one, or the one asked for. Files it refers to are read
 * relative to `directory`. A token file is read again as clients ask, as whoever issues the token renews it.
 * @throws Failure INVALID_KUBECONFIG, with the field that is wrong
 */
export async function loadKubeconfig(
  text: string,
  { directory = "/", context: asked }: { readonly directory?: string; readonly context?: string } = {},
): Promise<ClientConfig> {
  let root: Fields;
  try {
    root = fields(parseYaml(text), "the document");
  } catch (error) {
    throw isFailure(error, "INVALID_KUBECONFIG") ? error : invalid("the document", `is not YAML: ${messageOf(error)}`);
  }
  const current = asked ?? textOf(root, "current-context", "");
  if (current === undefined) throw invalid("current-context", "is not set");
  const context = named(root, "contexts", "context", current);
  const at = `contexts[${current}].context.`;
  const clusterName = textOf(context, "cluster", at);
  if (clusterName === undefined) throw invalid(`${at}cluster`, "is not set");
  const cluster = named(root, "clusters", "cluster", clusterName);
  const userName = textOf(context, "user", at);
  const user = userName === undefined ? {} : named(root, "users", "user", userName);

  const clusterAt = `clusters[${clusterName}].cluster.`;
  const userAt = `users[${userName}].user.`;
  for (const unsupported of ["exec", "auth-provider", "username", "password", "as"])
    if (user[unsupported] !== undefined)
      throw invalid(userAt + unsupported, "is not supported; use a client certificate, token or tokenFile");

  const server = textOf(cluster, "server", clusterAt);
  if (server === undefined) throw invalid(`${clusterAt}server`, "is not set");
  if (!URL.canParse(server) || !/^https?:$/.test(new URL(server).protocol))
    throw invalid(`${clusterAt}server`, "is not an http or https URL");
  const insecure = cluster["insecure-skip-tls-verify"];
  if (insecure !== undefined && typeof insecure !== "boolean")
    throw invalid(`${clusterAt}insecure-skip-tls-verify`, "must be true or false");

  const ca = await pemOf(cluster, "certificate-authority", clusterAt, directory);
  const cert = await pemOf(user, "client-certificate", userAt, directory);
  const key = await pemOf(user, "client-key", userAt, directory);
  if ((cert === undefined) !== (key === undefined))
    throw invalid(userAt + (cert === undefined ? "client-certificate" : "client-key"), "is missing for the other half");
  const token = tokenOf(user, userAt, directory);
  const serverName = textOf(cluster, "tls-server-name", clusterAt);
  return {
    server,
    namespace: textOf(context, "namespace", at) ?? "default",
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined || key === undefined ? {} : { cert, key, ...renewable(user, { cert, key }, directory) }),
    ...(token === undefined ? {} : { token }),
    ...(insecure === true ? { insecureSkipTlsVerify: true } : {}),
    ...(serverName === undefined ? {} : { serverName }),
  };
}

function fields(value: unknown, path: string): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw invalid(path, "is not a mapping");
  return value as Fields;
}

function textOf(from: Fields, field: string, path: string): string | undefined {
  const value = from[field];
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof value !== "string") throw invalid(path + field, "is not a string");
  return value;
}

function named(root: Fields, list: string, inner: string, name: string): Fields {
  const entries = root[list];
  if (!Array.isArray(entries)) throw invalid(list, "is not a list");
  const entry = entries.map((one: unknown, i) => fields(one, `${list}[${i}]`)).find((one) => one["name"] === name);
  if (entry === undefined) throw invalid(list, `has no entry named ${JSON.stringify(name)}`);
  return fields(entry[inner], `${list}[${name}].${inner}`);
}

/** `X-data`, which wins, or the file that `X` names. */
async function pemOf(from: Fields, field: string, path: string, directory: string): Promise<string | undefined> {
  const data = textOf(from, `${field}-data`, path);
  const file = textOf(from, field, path);
  if (data === undefined && file === undefined) return undefined;
  const where = data === undefined ? path + field : `${path}${field}-data`;
  let pem: string;
  if (data === undefined)
    pem = await readFile(resolve(directory, file ?? ""), "utf8").catch((error: unknown) => {
      throw invalid(where, `cannot be read: ${messageOf(error)}`);
    });
  else pem = Buffer.from(data, "base64").toString("utf8");
  if (!pem.includes("-----BEGIN ")) throw invalid(where, data === undefined ? "is not PEM" : "is not base64 of PEM");
  return pem;
}

/** Files are read again; data in the kubeconfig itself is not, nor is the kubeconfig. */
function renewable(
  user: Fields,
  read: { readonly cert: string; readonly key: string },
  directory: string,
): Pick<ClientConfig, "renewed"> {
  const fileOf = (field: string): string | undefined =>
    textOf(user, `${field}-data`, "") === undefined ? textOf(user, field, "") : undefined;
  const certFile = fileOf("client-certificate");
  const keyFile = fileOf("client-key");
  if (certFile === undefined && keyFile === undefined) return {};
  const again = (file: string | undefined, old: string): string =>
    file === undefined ? old : readFileSync(resolve(directory, file), "utf8");
  return { renewed: () => ({ cert: again(certFile, read.cert), key: again(keyFile, read.key) }) };
}

function tokenOf(user: Fields, path: string, directory: string): ClientConfig["token"] {
  const file = textOf(user, "tokenFile", path);
  if (file === undefined) return textOf(user, "token", path);
  const read = (): string => {
    try {
      return readFileSync(resolve(directory, file), "utf8").trim();
    } catch (error) {
      throw invalid(`${path}tokenFile`, `cannot be read: ${messageOf(error)}`);
    }
  };
  read();
  return read;
}

function invalid(field: string, what: string): Failure {
  return new Failure("INVALID_ARGUMENT", "INVALID_KUBECONFIG", `kubeconfig: ${field} ${what}`);
}
