import {
  aggregateRequests,
  formatQuantity,
  parseQuantity,
  type AnyContainer,
  type Container,
  type Pod,
  type PodSpec,
  type Probe,
} from "#k8s";
import { defaultVolume, type PodFeatures } from "./default-volume.ts";
import { defaultPullPolicy } from "./pull-policy.ts";
import { containersWithPaths } from "./rules.ts";

/** Fills in what a Pod leaves open, in place, as the API server does on every decode. */
export function defaultPod(pod: Pod, features: PodFeatures): void {
  const spec = pod.spec;
  if (spec === undefined) return;
  defaultPodSpec(spec, features);
  for (const container of [...(spec.initContainers ?? []), ...(spec.containers ?? [])]) {
    defaultRequests(container);
    if (spec.hostNetwork === true) for (const port of container.ports ?? []) port.hostPort ||= port.containerPort;
  }
  defaultPodResources(spec);
  spec.enableServiceLinks ??= true;
}

/** The same for the spec of a template, in which what depends on other fields stays open. */
export function defaultPodSpec(spec: PodSpec, features: PodFeatures): void {
  for (const volume of spec.volumes ?? []) defaultVolume(volume, features);
  for (const { container } of containersWithPaths(spec, "")) defaultContainer(container);
  roundUp(spec.overhead);
  spec.restartPolicy ||= "Always";
  spec.terminationGracePeriodSeconds ??= 30;
  spec.dnsPolicy ||= "ClusterFirst";
  if (spec.serviceAccountName) spec.serviceAccount = spec.serviceAccountName;
  else if (spec.serviceAccount) spec.serviceAccountName = spec.serviceAccount;
  spec.securityContext ??= {};
  spec.schedulerName ||= "default-scheduler";
}

function defaultContainer(container: AnyContainer): void {
  if (!container.imagePullPolicy) container.imagePullPolicy = defaultPullPolicy(container.image ?? "");
  container.terminationMessagePath ||= "/dev/termination-log";
  container.terminationMessagePolicy ||= "File";
  for (const port of container.ports ?? []) port.protocol ||= "TCP";
  for (const env of container.env ?? []) {
    const ref = env.valueFrom?.fieldRef;
    if (ref !== undefined && !ref.apiVersion) ref.apiVersion = "v1";
  }
  roundUp(container.resources?.limits);
  roundUp(container.resources?.requests);
  for (const probe of [container.livenessProbe, container.readinessProbe, container.startupProbe]) defaultProbe(probe);
  for (const handler of [container.lifecycle?.postStart, container.lifecycle?.preStop])
    if (handler?.httpGet !== undefined) defaultHttpGet(handler.httpGet);
}

type Quantities = Record<string, string>;

/** Nothing is measured in less than thousandths. */
function roundUp(list: Quantities | undefined): void {
  for (const [name, text] of Object.entries(list ?? {})) {
    const { nano, format } = parseQuantity(text);
    const rest = ((nano % MILLI) + MILLI) % MILLI;
    if (list !== undefined && rest !== 0n) list[name] = formatQuantity({ nano: nano + MILLI - rest, format });
  }
}

const MILLI = 1_000_000n;

/** Who is limited asks for as much as it may have, where it does not say. */
function defaultRequests({ resources }: Container): void {
  if (resources?.limits !== undefined) resources.requests = sorted({ ...resources.limits, ...resources.requests });
}

const sorted = (list: Quantities): Quantities =>
  Object.fromEntries(Object.entries(list).sort(([a], [b]) => (a < b ? -1 : 1)));

/** A Pod with limits of its own asks for what its containers do, and else for all that it may have. */
function defaultPodResources(spec: PodSpec): void {
  const { resources } = spec;
  roundUp(resources?.limits);
  roundUp(resources?.requests);
  if (resources?.limits === undefined || Object.keys(resources.limits).length === 0) return;
  const { cpu, memory } = aggregateRequests(spec);
  const ofContainers = { ...(cpu === undefined ? {} : { cpu }), ...(memory === undefined ? {} : { memory }) };
  resources.requests = sorted({ ...resources.limits, ...ofContainers, ...resources.requests });
}

function defaultHttpGet(get: { path?: string; scheme?: string }): void {
  get.path ||= "/";
  get.scheme ||= "HTTP";
}

function defaultProbe(probe: Probe | undefined): void {
  if (probe === undefined) return;
  if (probe.httpGet !== undefined) defaultHttpGet(probe.httpGet);
  if (probe.grpc !== undefined) probe.grpc.service ??= "";
  probe.timeoutSeconds ||= 1;
  probe.periodSeconds ||= 10;
  probe.successThreshold ||= 1;
  probe.failureThreshold ||= 3;
}
