import { parseQuantity, type Volume } from "#k8s";
import type { FieldErrors } from "../field-errors.ts";
import { dnsLabelErrors, dnsSubdomainErrors } from "../names.ts";
import { oneOf, type PodRules } from "./rules.ts";
import { fileMode, noBacksteps } from "./validate-paths.ts";
import { downwardFiles, keysToPaths, validateProjection } from "./validate-projected.ts";
import { rareSources } from "./validate-rare-volumes.ts";

/** What validating one volume needs beside its source. */
export interface VolumeContext {
  readonly rules: PodRules;
  /** The name of the Pod, where it has one: claims are named after it. */
  readonly podName: string | undefined;
  readonly volumeName: string;
}

export type SourceCheck<K extends keyof Volume = keyof Volume> = (
  source: NonNullable<Volume[K]>,
  at: string,
  errors: FieldErrors,
  context: VolumeContext,
) => void;

/** Checks all volumes and gives the good ones: a mount of a bad volume is reported as naming none. */
export function validateVolumes(
  volumes: readonly Volume[],
  podName: string | undefined,
  field: string,
  rules: PodRules,
  errors: FieldErrors,
): Map<string, Volume> {
  const good = new Map<string, Volume>();
  const claimed = new Set(
    volumes.filter((volume) => volume.ephemeral !== undefined).map((volume) => `${podName}-${volume.name}`),
  );
  for (const [i, volume] of volumes.entries()) {
    const at = `${field}[${i}]`;
    const before = errors.causes.length;
    validateSource(volume, at, { rules, podName, volumeName: volume.name }, errors);
    if (!volume.name) errors.required(`${at}.name`);
    else errors.invalidAll(`${at}.name`, volume.name, dnsLabelErrors(volume.name));
    if (good.has(volume.name)) errors.duplicate(`${at}.name`, volume.name);
    if (errors.causes.length === before) good.set(volume.name, volume);
    const claim = volume.persistentVolumeClaim?.claimName;
    if (podName && claim !== undefined && claimed.has(claim))
      errors.invalid(
        `${at}.persistentVolumeClaim.claimName`,
        claim,
        "must not reference a PVC that gets created for an ephemeral volume",
      );
  }
  return good;
}

/** The sources that nodes of this house mount, and those that others do. */
const SOURCES: { readonly [K in Exclude<keyof Volume, "name">]?: SourceCheck<K> } = {
  ...rareSources,
  emptyDir({ sizeLimit }, at, errors) {
    if (sizeLimit !== undefined && parseQuantity(sizeLimit).nano < 0n)
      errors.forbidden(`${at}.sizeLimit`, "SizeLimit field must be a valid resource quantity");
  },
  hostPath({ path, type }, at, errors) {
    if (!path) return errors.required(`${at}.path`);
    noBacksteps(path, `${at}.path`, errors);
    if (type !== undefined && !HOST_PATHS.includes(type)) errors.unsupported(`${at}.type`, type, HOST_PATHS);
  },
  secret({ secretName, defaultMode, items }, at, errors) {
    if (!secretName) errors.required(`${at}.secretName`);
    fileMode(defaultMode, `${at}.defaultMode`, errors);
    keysToPaths(items, `${at}.items`, errors);
  },
  configMap({ name, defaultMode, items }, at, errors) {
    if (!name) errors.required(`${at}.name`);
    fileMode(defaultMode, `${at}.defaultMode`, errors);
    keysToPaths(items, `${at}.items`, errors);
  },
  persistentVolumeClaim({ claimName }, at, errors) {
    if (!claimName) errors.required(`${at}.claimName`);
  },
  downwardAPI({ defaultMode, items }, at, errors) {
    fileMode(defaultMode, `${at}.defaultMode`, errors);
    downwardFiles(items, at, errors);
  },
  projected: validateProjection,
  csi({ driver, nodePublishSecretRef: secret }, at, errors) {
    if (!driver) errors.required(`${at}.driver`);
    else {
      if (Buffer.byteLength(driver) > 63) errors.tooLong(`${at}.driver`, 63);
      errors.invalidAll(`${at}.driver`, driver, dnsSubdomainErrors(driver.toLowerCase()));
    }
    if (secret === undefined) return;
    if (!secret.name) errors.required(`${at}.nodePublishSecretRef.name`);
    else errors.invalidAll(`${at}.name`, secret.name, dnsSubdomainErrors(secret.name));
  },
  image({ reference, pullPolicy }, at, errors, { rules }) {
    if (rules.isPod && !reference) errors.required(`${at}.reference`);
    oneOf(pullPolicy, ["Always", "IfNotPresent", "Never"], `${at}.pullPolicy`, errors);
  },
};

const HOST_PATHS = [
  "",
  "BlockDevice",
  "CharDevice",
  "Directory",
  "DirectoryOrCreate",
  "File",
  "FileOrCreate",
  "Socket",
];

/** Order of the sources as upstream looks at them: the first one found is validated, later ones are forbidden. */
const ORDER: readonly Exclude<keyof Volume, "name">[] = [
  "emptyDir",
  "hostPath",
  "gitRepo",
  "gcePersistentDisk",
  "awsElasticBlockStore",
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
];

/** Where upstream's error does not name the field as the API does. */
const MISNAMED: Readonly<Record<string, string>> = { cephfs: "cephFS", downwardAPI: "downwarAPI" };

/** And where it does not do so of what is inside. */
const WITHIN: Readonly<Record<string, string>> = { gcePersistentDisk: "persistentDisk" };

function validateSource(volume: Volume, at: string, context: VolumeContext, errors: FieldErrors): void {
  const found = ORDER.filter((name) => volume[name] !== undefined);
  if (found.length === 0) errors.required(at, "must specify a volume type");
  for (const [i, name] of found.entries())
    if (i > 0) errors.forbidden(`${at}.${MISNAMED[name] ?? name}`, "may not specify more than 1 volume type");
    else (SOURCES[name] as SourceCheck | undefined)?.(volume[name]!, `${at}.${WITHIN[name] ?? name}`, errors, context);
}
