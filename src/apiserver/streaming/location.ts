import type { Node, Pod } from "#k8s";
import type { ApiHost } from "../ports.ts";
import { badRequest, StatusError } from "../status.ts";

/** Where a kubelet listens. */
export interface KubeletAddress {
  readonly host: string;
  readonly port: number;
}

/** A container of a Pod, and the kubelet that runs it; no kubelet while the Pod has no node. */
export interface ContainerLocation {
  readonly pod: Pod;
  readonly container: string;
  readonly kubelet: KubeletAddress | undefined;
}

/** @throws StatusError where there is no such Pod or container, or where it has to be named */
export function locateContainer(host: ApiHost, namespace: string, name: string, asked: string): ContainerLocation {
  const pod = host.get<Pod>("pods", namespace, name);
  return { pod, container: containerOf(pod, asked), kubelet: kubeletOf(host, pod) };
}

/** @throws StatusError where there is no such Pod, or it has no node yet */
export function locatePod(host: ApiHost, namespace: string, name: string): { pod: Pod; kubelet: KubeletAddress } {
  const pod = host.get<Pod>("pods", namespace, name);
  return { pod, kubelet: assigned(kubeletOf(host, pod), name) };
}

/** @throws StatusError for a Pod without a node */
export function assigned(kubelet: KubeletAddress | undefined, pod: string): KubeletAddress {
  if (kubelet === undefined) throw badRequest(`pod ${pod} does not have a host assigned`);
  return kubelet;
}

function containerOf(pod: Pod, asked: string): string {
  const name = pod.metadata?.name ?? "";
  const names = (list: readonly { readonly name: string }[] | undefined): string[] =>
    (list ?? []).map((one) => one.name);
  const containers = names(pod.spec?.containers);
  const init = names(pod.spec?.initContainers);
  const ephemeral = names(pod.spec?.ephemeralContainers);
  if (asked !== "") {
    if ([...containers, ...init, ...ephemeral].includes(asked)) return asked;
    throw badRequest(`container ${asked} is not valid for pod ${name}`);
  }
  const [only] = containers;
  if (only === undefined) throw badRequest(`a container name must be specified for pod ${name}`);
  if (containers.length === 1) return only;
  const list = (which: readonly string[]): string => `[${which.join(" ")}]`;
  throw badRequest(
    `a container name must be specified for pod ${name}, choose one of: ${list(containers)}` +
      (init.length > 0 ? ` or one of the init containers: ${list(init)}` : "") +
      (ephemeral.length > 0 ? ` or one of the ephemeral containers: ${list(ephemeral)}` : ""),
  );
}

const ADDRESS_TYPES = ["InternalIP", "ExternalIP", "Hostname", "InternalDNS", "ExternalDNS"];

function kubeletOf(host: ApiHost, pod: Pod): KubeletAddress | undefined {
  const nodeName = pod.spec?.nodeName;
  if (!nodeName) return undefined;
  const { status } = host.get<Node>("nodes", "", nodeName);
  const addresses = status?.addresses ?? [];
  const address = ADDRESS_TYPES.map((type) => addresses.find((one) => one.type === type)).find(Boolean)?.address;
  if (!address)
    throw new StatusError(500, "InternalError", `Internal error occurred: node "${nodeName}" has no address yet`);
  return { host: address, port: status?.daemonEndpoints?.kubeletEndpoint?.Port || 10250 };
}
