import type { AnyContainer, Pod, PodSpec, Probe, Volume } from "#k8s";
import { canonicalQuantity } from "#k8s";

/** What the defaults depend on: whether the server knows image volumes. */
export interface PodFeatures {
  readonly imageVolume: boolean;
}

/** The pull policy of an image whose Pod names none: Always where the tag is `latest`, given or implied. */
export function defaultPullPolicy(image: string): "Always" | "IfNotPresent" {
  return tagOf(image) === "latest" ? "Always" : "IfNotPresent";
}

const NAME =
  /^(?:(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::\d+)?|\[[0-9a-fA-F:]+\](?::\d+)?)\/)?[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^(?:sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128})$/;
/** What could be an image ID is no name. */
const ID = /^[a-f0-9]{64}$/;

/** The tag of a reference: `latest` where it has neither tag nor digest, undefined where it cannot be parsed. */
function tagOf(image: string): string | undefined {
  const [rest = "", digest] = image.split(/@(.*)/s);
  if ((digest !== undefined && !DIGEST.test(digest)) || ID.test(image)) return undefined;
  const colon = rest.lastIndexOf(":");
  const tagged = colon > rest.lastIndexOf("/");
  const name = tagged ? rest.slice(0, colon) : rest;
  const tag = tagged ? rest.slice(colon + 1) : undefined;
  if (!NAME.test(name) || name.length > 255 || (tag !== undefined && !TAG.test(tag))) return undefined;
  return tag ?? (digest === undefined ? "latest" : undefined);
}

/** Fills in what a Pod leaves open, in place, as the API server does on every decode. */
export function defaultPod(pod: Pod, features: PodFeatures): void {
  const spec = pod.spec;
  if (spec === undefined) return;
  for (const volume of spec.volumes ?? []) defaultVolume(volume, features);
  for (const container of [
    ...(spec.initContainers ?? []),
    ...(spec.containers ?? []),
    ...(spec.ephemeralContainers ?? []),
  ])
    defaultContainer(container, spec);
  spec.restartPolicy ||= "Always";
  spec.terminationGracePeriodSeconds ??= 30;
  spec.dnsPolicy ||= "ClusterFirst";
  if (spec.serviceAccountName) spec.serviceAccount = spec.serviceAccountName;
  else if (spec.serviceAccount) spec.serviceAccountName = spec.serviceAccount;
  spec.securityContext ??= {};
  spec.schedulerName ||= "default-scheduler";
  spec.enableServiceLinks ??= true;
}

function defaultContainer(container: AnyContainer, spec: PodSpec): void {
  if (!container.imagePullPolicy) container.imagePullPolicy = defaultPullPolicy(container.image ?? "");
  container.terminationMessagePath ||= "/dev/termination-log";
  container.terminationMessagePolicy ||= "File";
  for (const port of container.ports ?? []) {
    port.protocol ||= "TCP";
    if (spec.hostNetwork === true && !port.hostPort) port.hostPort = port.containerPort;
  }
  for (const env of container.env ?? []) {
    const ref = env.valueFrom?.fieldRef;
    if (ref !== undefined && !ref.apiVersion) ref.apiVersion = "v1";
  }
  const { limits } = container.resources ?? {};
  if (limits !== undefined && container.resources !== undefined) {
    const requests = { ...container.resources.requests };
    for (const [name, value] of Object.entries(limits)) requests[name] ??= value;
    container.resources.requests = Object.fromEntries(Object.entries(requests).sort(([a], [b]) => (a < b ? -1 : 1)));
  }
  for (const probe of [container.livenessProbe, container.readinessProbe, container.startupProbe]) defaultProbe(probe);
  for (const handler of [container.lifecycle?.postStart, container.lifecycle?.preStop])
    if (handler?.httpGet !== undefined) defaultHttpGet(handler.httpGet);
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

const SOURCES = (volume: Volume): string[] => Object.keys(volume).filter((key) => key !== "name");

function defaultVolume(volume: Volume, features: PodFeatures): void {
  if (SOURCES(volume).length === 0) volume.emptyDir = {};
  for (const source of [volume.secret, volume.configMap, volume.downwardAPI, volume.projected])
    if (source !== undefined) source.defaultMode ??= 0o644;
  for (const item of volume.downwardAPI?.items ?? [])
    if (item.fieldRef !== undefined) item.fieldRef.apiVersion ||= "v1";
  for (const source of volume.projected?.sources ?? []) {
    if (source.serviceAccountToken !== undefined) source.serviceAccountToken.expirationSeconds ??= 3600;
    for (const item of source.downwardAPI?.items ?? [])
      if (item.fieldRef !== undefined) item.fieldRef.apiVersion ||= "v1";
  }
  if (volume.hostPath !== undefined) volume.hostPath.type ??= "";
  if (volume.emptyDir?.sizeLimit !== undefined)
    volume.emptyDir.sizeLimit = canonicalQuantity(volume.emptyDir.sizeLimit);
  if (features.imageVolume && volume.image !== undefined)
    volume.image.pullPolicy ||= defaultPullPolicy(volume.image.reference ?? "");
}

const TOLERATED = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] as const;

/** What admission adds to a new Pod: tolerations for a lost node, and the default priority. */
export function admitPod(pod: Pod): void {
  const spec = pod.spec;
  if (spec === undefined) return;
  for (const key of TOLERATED) {
    const has = (spec.tolerations ?? []).some(
      (t) => (t.key === key || (t.key ?? "") === "") && (t.effect === "NoExecute" || (t.effect ?? "") === ""),
    );
    if (!has)
      spec.tolerations = [
        ...(spec.tolerations ?? []),
        { key, operator: "Exists", effect: "NoExecute", tolerationSeconds: 300 },
      ];
  }
  const system = spec.priorityClassName;
  spec.priority ??=
    system === "system-node-critical" ? 2000001000 : system === "system-cluster-critical" ? 2000000000 : 0;
  spec.preemptionPolicy ??= "PreemptLowerPriority";
}

/** KEP-4639's gate: with it off, image volumes go, and with them the mounts that name them. */
export function dropImageVolumes(pod: Pod): void {
  const spec = pod.spec;
  const dropped = new Set(spec?.volumes?.filter((volume) => volume.image !== undefined).map((volume) => volume.name));
  if (spec?.volumes === undefined || dropped.size === 0) return;
  spec.volumes = spec.volumes.filter((volume) => !dropped.has(volume.name));
  if (spec.volumes.length === 0) delete spec.volumes;
  for (const container of [
    ...(spec.initContainers ?? []),
    ...(spec.containers ?? []),
    ...(spec.ephemeralContainers ?? []),
  ]) {
    if (container.volumeMounts === undefined) continue;
    container.volumeMounts = container.volumeMounts.filter((mount) => !dropped.has(mount.name));
    if (container.volumeMounts.length === 0) delete container.volumeMounts;
  }
}

/** The AlwaysPullImages admission plugin: every image, of a container or of a volume, is pulled anew. */
export function alwaysPullImages(pod: Pod): void {
  const { spec } = pod;
  for (const container of [
    ...(spec?.initContainers ?? []),
    ...(spec?.containers ?? []),
    ...(spec?.ephemeralContainers ?? []),
  ])
    container.imagePullPolicy = "Always";
  for (const volume of spec?.volumes ?? []) if (volume.image !== undefined) volume.image.pullPolicy = "Always";
}

/** The quality of service a Pod's requests and limits put it in. */
export function qosClass(pod: Pod): "Guaranteed" | "Burstable" | "BestEffort" {
  const containers = [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? [])];
  let any = false;
  let guaranteed = containers.length > 0;
  for (const { resources } of containers) {
    for (const name of ["cpu", "memory"]) {
      const limit = resources?.limits?.[name];
      const request = resources?.requests?.[name];
      const set = (value: string | undefined): boolean => value !== undefined && canonicalQuantity(value) !== "0";
      if (set(limit) || set(request)) any = true;
      if (!set(limit) || canonicalQuantity(limit ?? "0") !== canonicalQuantity(request ?? limit ?? "0"))
        guaranteed = false;
    }
  }
  return !any ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
}
