import { canonicalQuantity, type Volume } from "#k8s";
import { defaultPullPolicy } from "./pull-policy.ts";

/** What the defaults depend on: whether the server knows image volumes. */
export interface PodFeatures {
  readonly imageVolume: boolean;
}

/** What sources that come from a cloud's or a vendor's disk have where a Pod does not say. */
const OPEN: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  azureDisk: { cachingMode: "ReadWrite", kind: "Shared", fsType: "ext4", readOnly: false },
  configMap: { defaultMode: 0o644 },
  downwardAPI: { defaultMode: 0o644 },
  hostPath: { type: "" },
  iscsi: { iscsiInterface: "default" },
  projected: { defaultMode: 0o644 },
  rbd: { pool: "rbd", user: "admin", keyring: "/etc/ceph/keyring" },
  scaleIO: { storageMode: "ThinProvisioned", fsType: "xfs" },
  secret: { defaultMode: 0o644 },
};

/** Fills in what a volume leaves open, in place. One without any source is an empty directory. */
export function defaultVolume(volume: Volume, features: PodFeatures): void {
  const sources = volume as unknown as Record<string, Record<string, unknown> | undefined>;
  if (Object.keys(sources).every((key) => key === "name")) volume.emptyDir = {};
  for (const [name, values] of Object.entries(OPEN)) {
    const source = sources[name];
    if (source !== undefined) for (const [key, value] of Object.entries(values)) source[key] ??= value;
  }
  const files = [
    ...(volume.downwardAPI?.items ?? []),
    ...(volume.projected?.sources ?? []).flatMap((source) => source.downwardAPI?.items ?? []),
  ];
  for (const { fieldRef } of files) if (fieldRef !== undefined) fieldRef.apiVersion ||= "v1";
  for (const { serviceAccountToken: token } of volume.projected?.sources ?? [])
    if (token !== undefined) token.expirationSeconds ??= 3600;
  if (volume.ephemeral?.volumeClaimTemplate !== undefined)
    volume.ephemeral.volumeClaimTemplate.spec.volumeMode ??= "Filesystem";
  if (volume.emptyDir?.sizeLimit !== undefined)
    volume.emptyDir.sizeLimit = canonicalQuantity(volume.emptyDir.sizeLimit);
  if (features.imageVolume && volume.image !== undefined)
    volume.image.pullPolicy ||= defaultPullPolicy(volume.image.reference ?? "");
}
