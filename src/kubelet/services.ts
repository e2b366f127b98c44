import { isFailure } from "#base";
import type { Pod } from "#k8s";
import { type KubeClient, kubePath } from "#wire";
import { namespaceOf, specOf } from "./pod.ts";

/** Where Pods reach an API server. */
export interface ApiAddress {
  readonly host: string;
  readonly port: number;
}

/** What the containers of a Pod are told about Services in their environment. */
export interface ServiceReader {
  /**
   * The variables of the API server's own Service, and of those in the Pod's namespace unless it says `enableServiceLinks: false`.
   *
   * @throws Failure where the API server does not answer
   */
  variablesFor(pod: Pod): Promise<ReadonlyMap<string, string>>;
}

/** The part of a Service that variables are made of. */
export interface ServiceLike {
  readonly metadata?: { readonly name?: string };
  readonly spec?: {
    readonly clusterIP?: string;
    readonly ports?: readonly { readonly name?: string; readonly port: number; readonly protocol?: string }[];
  };
}

const MASTER = { namespace: "default", name: "kubernetes" };

/** @param api for an API server that has no Services: what its own would say */
export function createServiceReader(client: KubeClient, api: ApiAddress | undefined): ServiceReader {
  if (api) {
    const own = { metadata: MASTER, spec: { clusterIP: api.host, ports: [{ name: "https", port: api.port }] } };
    const variables = serviceVariables([own]);
    return { variablesFor: async () => variables };
  }
  const readMaster = async (): Promise<ServiceLike[]> => {
    try {
      return [await client.get<ServiceLike>(kubePath("v1", "services", MASTER))];
    } catch (error) {
      if (isFailure(error, "NotFound")) return [];
      throw error;
    }
  };
  const readAll = async (namespace: string): Promise<readonly ServiceLike[]> => {
    try {
      return (await client.list<ServiceLike>(kubePath("v1", "services", { namespace }))).items;
    } catch (error) {
      if (isFailure(error, "NotFound")) return [];
      throw error;
    }
  };
  return {
    async variablesFor(pod) {
      const linked = specOf(pod).enableServiceLinks ?? true;
      const [master, own] = await Promise.all([readMaster(), linked ? readAll(namespaceOf(pod)) : []]);
      // A Service of the same name in the Pod's namespace comes later, and hides it.
      return serviceVariables([...master, ...own]);
    },
  };
}

/**
 * The variables of Services that have an address, docker's links among them.
 * https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
 */
export function serviceVariables(services: readonly ServiceLike[]): Map<string, string> {
  const variables = new Map<string, string>();
  for (const { metadata, spec } of services) {
    const { clusterIP = "", ports = [] } = spec ?? {};
    const [first] = ports;
    if (clusterIP === "" || clusterIP === "None" || !first) continue;
    const name = variableName(metadata?.name ?? "");
    variables.set(`${name}_SERVICE_HOST`, clusterIP);
    variables.set(`${name}_SERVICE_PORT`, String(first.port));
    variables.set(`${name}_PORT`, urlOf(clusterIP, first));
    for (const port of ports) {
      if (port.name) variables.set(`${name}_SERVICE_PORT_${variableName(port.name)}`, String(port.port));
      const protocol = port.protocol || "TCP";
      const link = `${name}_PORT_${port.port}_${protocol.toUpperCase()}`;
      variables.set(link, urlOf(clusterIP, port));
      variables.set(`${link}_PROTO`, protocol.toLowerCase());
      variables.set(`${link}_PORT`, String(port.port));
      variables.set(`${link}_ADDR`, clusterIP);
    }
  }
  return variables;
}

function urlOf(host: string, { port, protocol }: { readonly port: number; readonly protocol?: string }): string {
  return `${(protocol || "TCP").toLowerCase()}://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

const variableName = (name: string): string =>
  name
    .toUpperCase()
    .replace(/[-.]/g, "_")
    .replace(/^(?=\d)/, "_");
