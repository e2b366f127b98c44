import type { Volume } from "#k8s";
import type { FieldErrors } from "../field-errors.ts";
import { dnsLabelErrors, dnsSubdomainErrors } from "../names.ts";
import { range } from "./rules.ts";
import { validateClaimTemplate } from "./validate-claim-template.ts";
import { descending } from "./validate-paths.ts";
import type { SourceCheck } from "./validate-volumes.ts";

/** Each of the fields must have a value. */
function required(source: object, fields: readonly string[], at: string, errors: FieldErrors): void {
  for (const field of fields) {
    const value = (source as Record<string, unknown>)[field];
    if (value === undefined || value === "" || (Array.isArray(value) && value.length === 0))
      errors.required(`${at}.${field}`);
  }
}

/** A check that asks for values and nothing else. */
const needs =
  (...fields: readonly string[]) =>
  (source: object, at: string, errors: FieldErrors): void =>
    required(source, fields, at, errors);

/** A disk of a cloud, whole or one partition of it. */
const disk =
  (id: string) =>
  (source: { readonly partition?: number }, at: string, errors: FieldErrors): void => {
    required(source, [id], at, errors);
    const { partition = 0 } = source;
    if (partition < 0 || partition > 255) errors.invalid(`${at}.partition`, partition, range(1, 255));
  };

/** What no node of this house mounts, but a Pod may name. */
export const rareSources: { readonly [K in Exclude<keyof Volume, "name">]?: SourceCheck<K> } = {
  gitRepo(source, at, errors) {
    required(source, ["repository"], at, errors);
    descending(source.directory ?? "", `${at}.directory`, errors);
  },
  gcePersistentDisk: disk("pdName"),
  awsElasticBlockStore: disk("volumeID"),
  nfs(source, at, errors) {
    required(source, ["server", "path"], at, errors);
    if (!source.path.startsWith("/")) errors.invalid(`${at}.path`, source.path, "must be an absolute path");
  },
  iscsi(source, at, errors, { volumeName }) {
    required(source, ["targetPortal", "iqn"], at, errors);
    if (source.iqn) errors.invalidAll(`${at}.iqn`, source.iqn, initiatorErrors(source.iqn));
    if (source.lun < 0 || source.lun > 255) errors.invalid(`${at}.lun`, source.lun, range(0, 255));
    const needsSecret = source.chapAuthDiscovery === true || source.chapAuthSession === true;
    if (needsSecret && source.secretRef === undefined) errors.required(`${at}.secretRef`);
    const { initiatorName } = source;
    if (initiatorName === undefined) return;
    errors.invalidAll(`${at}.initiatorname`, initiatorName, initiatorErrors(initiatorName));
    if (`${volumeName}:${source.targetPortal}`.length > 64)
      errors.invalid(
        at.replace(/iscsi$/, "name"),
        volumeName,
        "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.",
      );
  },
  glusterfs: needs("endpoints", "path"),
  flocker({ datasetName = "", datasetUUID = "" }, at, errors) {
    if (datasetName === "" && datasetUUID === "") errors.required(at, "one of datasetName and datasetUUID is required");
    if (datasetName !== "" && datasetUUID !== "")
      errors.invalid(at, "resource", "datasetName and datasetUUID can not be specified simultaneously");
    if (datasetName.includes("/")) errors.invalid(`${at}.datasetName`, datasetName, "must not contain '/'");
  },
  rbd: needs("monitors", "image"),
  cinder(source, at, errors) {
    required(source, ["volumeID"], at, errors);
    if (source.secretRef !== undefined) required(source.secretRef, ["name"], `${at}.secretRef`, errors);
  },
  cephfs: needs("monitors"),
  quobyte({ registry, tenant = "", volume }, at, errors) {
    const pairs = "must be a host:port pair or multiple pairs separated by commas";
    if (!registry) errors.required(`${at}.registry`, pairs);
    else if (tenant.length >= 65)
      errors.required(`${at}.tenant`, "must be a UUID and may not exceed a length of 64 characters");
    else
      for (const pair of registry.split(","))
        if (!/^(?:\[[^\]]*\]|[^:[\]]*):[^:[\]]*$/.test(pair)) errors.invalid(`${at}.registry`, registry, pairs);
    if (!volume) errors.required(`${at}.volume`);
  },
  fc({ targetWWNs = [], wwids = [], lun }, at, errors) {
    const field = `${at}.targetWWNs`;
    if (targetWWNs.length === 0 && wwids.length === 0)
      errors.required(field, "must specify either targetWWNs or wwids, but not both");
    if (targetWWNs.length === 0) return;
    if (wwids.length > 0) errors.invalid(field, targetWWNs, "targetWWNs and wwids can not be specified simultaneously");
    if (lun === undefined) errors.required(`${at}.lun`, "lun is required if targetWWNs is specified");
    else if (lun < 0 || lun > 255) errors.invalid(`${at}.lun`, lun, range(0, 255));
  },
  flexVolume(source, at, errors) {
    required(source, ["driver"], at, errors);
    for (const key of Object.keys(source.options ?? {}))
      if (/(^|\.)(kubernetes|k8s)\.io$/i.test(key.replace(/\/.*$/s, "")))
        errors.invalid(`${at}.options[${key}]`, key, "kubernetes.io and k8s.io namespaces are reserved");
  },
  azureFile: needs("secretName", "shareName"),
  vsphereVolume: needs("volumePath"),
  photonPersistentDisk: needs("pdID"),
  portworxVolume: needs("volumeID"),
  azureDisk(source, at, errors) {
    required(source, ["diskName", "diskURI"], at, errors);
    const { cachingMode, kind, diskURI } = source;
    const caching = ["None", "ReadOnly", "ReadWrite"];
    if (cachingMode !== undefined && !caching.includes(cachingMode))
      errors.unsupported(`${at}.cachingMode`, cachingMode, caching);
    const kinds = ["Dedicated", "Managed", "Shared"];
    if (kind !== undefined && !kinds.includes(kind)) errors.unsupported(`${at}.kind`, kind, kinds);
    if (kind === "Managed" && !diskURI.startsWith("/subscriptions/"))
      errors.unsupported(`${at}.diskURI`, diskURI, [
        "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",
      ]);
    if (kind !== undefined && kind !== "Managed" && !diskURI.startsWith("https://"))
      errors.unsupported(`${at}.diskURI`, diskURI, [
        "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd",
      ]);
  },
  storageos({ volumeName = "", volumeNamespace = "", secretRef }, at, errors) {
    if (volumeName === "") errors.required(`${at}.volumeName`);
    else errors.invalidAll(`${at}.volumeName`, volumeName, dnsLabelErrors(volumeName));
    if (volumeNamespace !== "")
      errors.invalidAll(`${at}.volumeNamespace`, volumeNamespace, dnsLabelErrors(volumeNamespace));
    if (secretRef !== undefined) required(secretRef, ["name"], `${at}.secretRef`, errors);
  },
  scaleIO: needs("gateway", "system", "volumeName"),
  ephemeral({ volumeClaimTemplate: template }, at, errors, { podName, volumeName }) {
    if (template === undefined) errors.required(`${at}.volumeClaimTemplate`);
    else validateClaimTemplate(template, `${at}.volumeClaimTemplate`, errors);
    if (!podName || !volumeName) return;
    const claim = `${podName}-${volumeName}`;
    for (const why of dnsSubdomainErrors(claim))
      errors.invalid(at.replace(/ephemeral$/, "name"), volumeName, `PVC name ${JSON.stringify(claim)}: ${why}`);
  },
};

const INITIATORS: Readonly<Record<string, RegExp>> = {
  iqn: /iqn\.\d{4}-\d{2}\.[A-Za-z0-9.-]+:[^,;*&$|\s]+$/,
  eui: /^eui.[A-Za-z0-9]{16}$/,
  naa: /^naa.[A-Za-z0-9]{32}$/,
};

function initiatorErrors(name: string): string[] {
  const format = INITIATORS[name.slice(0, 3)];
  if (format === undefined) return ["must be valid format starting with iqn, eui, or naa"];
  return format.test(name) ? [] : ["must be valid format"];
}
