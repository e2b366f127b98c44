import { parseQuantity, type Volume } from "#k8s";
import type { FieldErrors } from "../field-errors.ts";
import { configKeyErrors, dnsLabelErrors } from "../names.ts";
import { oneOf, type PodRules } from "./rules.ts";

const MODE = "must be a number between 0 and 0777 (octal), both inclusive";
const ONE_TYPE = "may not specify more than 1 volume type";

/** Checks all volumes and gives the good ones: a mount of a bad volume is reported as naming none. */
export function validateVolumes(
  volumes: readonly Volume[],
  field: string,
  rules: PodRules,
  errors: FieldErrors,
): Map<string, Volume> {
  const good = new Map<string, Volume>();
  const names = new Set<string>();
  for (const [i, volume] of volumes.entries()) {
    const at = `${field}[${i}]`;
    const before = errors.causes.length;
    validateSource(volume, at, rules, errors);
    if (!volume.name) errors.required(`${at}.name`);
    else for (const error of dnsLabelErrors(volume.name)) errors.invalid(`${at}.name`, volume.name, error);
    if (names.has(volume.name)) errors.duplicate(`${at}.name`, volume.name);
    if (errors.causes.length === before) {
      names.add(volume.name);
      good.set(volume.name, volume);
    }
  }
  return good;
}

type Source = Record<string, unknown>;

const text = (value: unknown): string => (typeof value === "string" ? value : "");

/** Order of the sources as upstream looks at them: the first one found is validated, later ones are forbidden. */
const ORDER = [
  "emptyDir",
  "hostPath",
  "gitRepo",
  "secret",
  "nfs",
  "iscsi",
  "glusterfs",
  "flocker",
  "persistentVolumeClaim",
  "rbd",
  "cinder",
  "cephfs",
  "quobyte",
  "downwardAPI",
  "fc",
  "flexVolume",
  "configMap",
  "azureFile",
  "vsphereVolume",
  "photonPersistentDisk",
  "portworxVolume",
  "azureDisk",
  "storageos",
  "projected",
  "scaleIO",
  "csi",
  "ephemeral",
  "image",
] as const;

function validateSource(volume: Volume, at: string, rules: PodRules, errors: FieldErrors): void {
  const sources = volume as unknown as Record<string, Source | undefined>;
  let found = 0;
  for (const name of ORDER) {
    const source = sources[name];
    if (source === undefined) continue;
    if (found++ > 0) {
      errors.forbidden(`${at}.${name}`, ONE_TYPE);
      continue;
    }
    validators[name]?.(source, `${at}.${name}`, rules, errors);
  }
  if (found === 0 && Object.keys(sources).length <= 1) errors.required(at, "must specify a volume type");
}

type Validator = (source: Source, at: string, rules: PodRules, errors: FieldErrors) => void;

const validators: Readonly<Partial<Record<(typeof ORDER)[number], Validator>>> = {
  emptyDir(source, at, _rules, errors) {
    const limit = source["sizeLimit"];
    if (typeof limit === "string" && parseQuantity(limit).nano < 0n)
      errors.forbidden(`${at}.sizeLimit`, "SizeLimit field must be a valid resource quantity");
  },
  hostPath(source, at, _rules, errors) {
    const path = text(source["path"]);
    if (path === "") {
      errors.required(`${at}.path`);
      return;
    }
    backsteps(path, `${at}.path`, errors);
    const types = ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    const type = source["type"];
    if (typeof type === "string" && !types.includes(type)) errors.unsupported(`${at}.type`, type, types);
  },
  secret(source, at, _rules, errors) {
    if (!source["secretName"]) errors.required(`${at}.secretName`);
    mode(source["defaultMode"], `${at}.defaultMode`, errors);
    keysToPaths(source["items"], `${at}.items`, errors);
  },
  configMap(source, at, _rules, errors) {
    if (!source["name"]) errors.required(`${at}.name`);
    mode(source["defaultMode"], `${at}.defaultMode`, errors);
    keysToPaths(source["items"], `${at}.items`, errors);
  },
  downwardAPI(source, at, _rules, errors) {
    mode(source["defaultMode"], `${at}.defaultMode`, errors);
    downwardItems(source["items"], at, errors);
  },
  projected(source, at, _rules, errors) {
    mode(source["defaultMode"], `${at}.defaultMode`, errors);
    projections(source["sources"], at, errors);
  },
  persistentVolumeClaim(source, at, _rules, errors) {
    if (!source["claimName"]) errors.required(`${at}.claimName`);
  },
  nfs(source, at, _rules, errors) {
    if (!source["server"]) errors.required(`${at}.server`);
    if (!source["path"]) errors.required(`${at}.path`);
    else if (!text(source["path"]).startsWith("/"))
      errors.invalid(`${at}.path`, source["path"], "must be an absolute path");
  },
  csi(source, at, _rules, errors) {
    if (!source["driver"]) errors.required(`${at}.driver`);
  },
  image(source, at, rules, errors) {
    if (rules.isPod && !source["reference"]) errors.required(`${at}.reference`);
    oneOf(source["pullPolicy"] as string | undefined, ["Always", "IfNotPresent", "Never"], `${at}.pullPolicy`, errors);
  },
};

function mode(value: unknown, field: string, errors: FieldErrors): void {
  if (typeof value === "number" && (value < 0 || value > 0o777)) errors.invalid(field, value, MODE);
}

/** A path that must stay below where it starts. */
export function descending(path: string, field: string, errors: FieldErrors): void {
  if (path.startsWith("/")) errors.invalid(field, path, "must be a relative path");
  backsteps(path, field, errors);
}

function backsteps(path: string, field: string, errors: FieldErrors): void {
  if (path.split("/").includes("..")) errors.invalid(field, path, "must not contain '..'");
}

function localFile(path: unknown, field: string, errors: FieldErrors): void {
  const value = text(path);
  if (value === "") {
    errors.required(field);
    return;
  }
  descending(value, field, errors);
  if (value.startsWith("..") && !value.split("/").includes(".."))
    errors.invalid(field, value, "must not start with '..'");
}

function keysToPaths(items: unknown, field: string, errors: FieldErrors): void {
  for (const [i, item] of ((items ?? []) as Source[]).entries()) {
    if (!item["key"]) errors.required(`${field}[${i}].key`);
    else
      for (const error of configKeyErrors(text(item["key"]))) errors.invalid(`${field}[${i}].key`, item["key"], error);
    localFile(item["path"], `${field}[${i}].path`, errors);
    mode(item["mode"], `${field}[${i}].mode`, errors);
  }
}

const FIELDS = ["metadata.name", "metadata.namespace", "metadata.uid", "metadata.annotations", "metadata.labels"];
const RESOURCES = [
  "limits.cpu",
  "limits.ephemeral-storage",
  "limits.memory",
  "requests.cpu",
  "requests.ephemeral-storage",
  "requests.memory",
];

function downwardItems(items: unknown, at: string, errors: FieldErrors): void {
  for (const item of (items ?? []) as Source[]) {
    const field = `${at}.path`;
    localFile(item["path"], field, errors);
    const ref = item["fieldRef"] as Source | undefined;
    const resource = item["resourceFieldRef"] as Source | undefined;
    if (ref !== undefined && resource !== undefined)
      errors.invalid(at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously");
    else if (ref !== undefined) fieldRef(ref, `${at}.fieldRef`, FIELDS, errors);
    else if (resource !== undefined) resourceRef(resource, `${at}.resourceFieldRef`, true, errors);
    else errors.required(at, "one of fieldRef and resourceFieldRef is required");
    mode(item["mode"], `${at}.mode`, errors);
  }
}

/** A reference to a field of the Pod, from the environment or from a file. */
export function fieldRef(ref: Source, at: string, allowed: readonly string[], errors: FieldErrors): void {
  const path = text(ref["fieldPath"]);
  if (!ref["apiVersion"]) errors.required(`${at}.apiVersion`);
  if (path === "") {
    errors.required(`${at}.fieldPath`);
    return;
  }
  const subscript = /^(metadata\.(?:labels|annotations))\['(.*)'\]$/.exec(path);
  if (subscript === null && !allowed.includes(path)) {
    if (KNOWN_FIELDS.includes(path)) errors.unsupported(`${at}.fieldPath`, path, [...allowed].sort());
    else errors.invalid(`${at}.fieldPath`, path, "error converting fieldPath: field label not supported: " + path);
  }
}

const KNOWN_FIELDS = [
  "metadata.name",
  "metadata.namespace",
  "metadata.uid",
  "metadata.labels",
  "metadata.annotations",
  "spec.nodeName",
  "spec.serviceAccountName",
  "spec.schedulerName",
  "spec.restartPolicy",
  "spec.hostNetwork",
  "status.phase",
  "status.hostIP",
  "status.hostIPs",
  "status.podIP",
  "status.podIPs",
  "status.nominatedNodeName",
];

/** A reference to a container's limit or request. In a volume it must say which container. */
export function resourceRef(ref: Source, at: string, inVolume: boolean, errors: FieldErrors): void {
  const resource = text(ref["resource"]);
  if (inVolume && !ref["containerName"]) errors.required(`${at}.containerName`);
  else if (resource === "") errors.required(`${at}.resource`);
  else if (!RESOURCES.includes(resource) && !/^(limits|requests)\.hugepages-/.test(resource))
    errors.unsupported(`${at}.resource`, resource, RESOURCES);
}

function projections(sources: unknown, at: string, errors: FieldErrors): void {
  for (const [i, source] of ((sources ?? []) as Record<string, Source | undefined>[]).entries()) {
    const here = `${at}.sources[${i}]`;
    const kinds = Object.keys(source);
    if (kinds.length === 0) errors.required(here, "must specify a source");
    for (const kind of kinds.slice(1)) errors.forbidden(`${here}.${kind}`, "may not specify more than 1 volume type");
    const { secret, configMap, downwardAPI, serviceAccountToken } = source;
    if (secret !== undefined) {
      if (!secret["name"]) errors.required(`${here}.secret.name`);
      keysToPaths(secret["items"], `${here}.secret.items`, errors);
    }
    if (configMap !== undefined) {
      if (!configMap["name"]) errors.required(`${here}.configMap.name`);
      keysToPaths(configMap["items"], `${here}.configMap.items`, errors);
    }
    if (downwardAPI !== undefined) downwardItems(downwardAPI["items"], `${here}.downwardAPI`, errors);
    if (serviceAccountToken !== undefined) {
      const seconds = Number(serviceAccountToken["expirationSeconds"] ?? 3600);
      if (seconds < 600)
        errors.invalid(
          `${here}.serviceAccountToken.expirationSeconds`,
          seconds,
          "may not specify a duration less than 10 minutes",
        );
      if (seconds > 2 ** 32)
        errors.invalid(
          `${here}.serviceAccountToken.expirationSeconds`,
          seconds,
          "may not specify a duration larger than 2^32 seconds",
        );
      if (!serviceAccountToken["path"]) errors.required(`${at}.path`);
      else localFile(serviceAccountToken["path"], `${at}.path`, errors);
    }
  }
}
