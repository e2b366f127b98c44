import type { AnyContainer, VolumeMount } from "#k8s";
import type { FieldErrors } from "../field-errors.ts";
import { among, type PodContext } from "./rules.ts";
import { descending, hasBacksteps } from "./validate-paths.ts";

/** Upstream's ValidateVolumeMounts. It names no mount where a path or a mode of one is wrong. */
export function validateMounts(container: AnyContainer, at: string, context: PodContext, errors: FieldErrors): void {
  const devices = container.volumeDevices ?? [];
  const deviceNames = new Set(devices.map((device) => device.name));
  const devicePaths = new Set(devices.map((device) => device.devicePath));
  const field = `${at}.volumeMounts`;
  const paths = new Set<string>();
  for (const [i, mount] of (container.volumeMounts ?? []).entries()) {
    const here = `${field}[${i}]`;
    const volume = context.volumes.get(mount.name);
    if (!mount.name) errors.required(`${here}.name`);
    if (volume === undefined) errors.notFound(`${here}.name`, mount.name);
    if (!mount.mountPath) errors.required(`${here}.mountPath`);
    if (paths.has(mount.mountPath)) errors.invalid(`${here}.mountPath`, mount.mountPath, "must be unique");
    paths.add(mount.mountPath);
    if (!context.rules.imageSubPath && volume?.image !== undefined) noSubPath(mount, here, errors);
    if (deviceNames.has(mount.name))
      errors.invalid(`${here}.name`, mount.name, "must not already exist in volumeDevices");
    if (devicePaths.has(mount.mountPath))
      errors.invalid(`${here}.mountPath`, mount.mountPath, "must not already exist as a path in volumeDevices");
    if (mount.subPath) descending(mount.subPath, `${field}.subPath`, errors);
    if (mount.subPathExpr) {
      if (mount.subPath)
        errors.invalid(`${here}.subPathExpr`, mount.subPathExpr, "subPathExpr and subPath are mutually exclusive");
      descending(mount.subPathExpr, `${field}.subPathExpr`, errors);
    }
    propagation(mount, container, `${field}.mountPropagation`, errors);
    recursive(mount, `${field}.recursiveReadOnly`, errors);
  }
}

function noSubPath(mount: VolumeMount, at: string, errors: FieldErrors): void {
  for (const name of ["subPath", "subPathExpr"] as const)
    if (mount[name]) errors.invalid(`${at}.${name}`, mount[name], "not allowed in image volume sources");
}

function propagation(mount: VolumeMount, container: AnyContainer, field: string, errors: FieldErrors): void {
  const { mountPropagation } = mount;
  among(mountPropagation, ["Bidirectional", "HostToContainer", "None"], field, errors);
  if (mountPropagation === "Bidirectional" && container.securityContext?.privileged !== true)
    errors.forbidden(field, "Bidirectional mount propagation is available only to privileged containers");
}

function recursive(mount: VolumeMount, field: string, errors: FieldErrors): void {
  const value = mount.recursiveReadOnly;
  if (value === undefined || value === "Disabled") return;
  if (value !== "Enabled" && value !== "IfPossible")
    return errors.unsupported(field, value, ["Disabled", "Enabled", "IfPossible"]);
  if (mount.readOnly !== true) errors.forbidden(field, "may only be specified when readOnly is true");
  if (mount.mountPropagation !== undefined && mount.mountPropagation !== "None")
    errors.forbidden(field, "may only be specified when mountPropagation is None or not specified");
}

/** Upstream's ValidateVolumeDevices: a block device is one of a claim. */
export function validateDevices(container: AnyContainer, at: string, context: PodContext, errors: FieldErrors): void {
  const mounts = container.volumeMounts ?? [];
  const mountNames = new Set(mounts.map((mount) => mount.name));
  const mountPaths = new Set(mounts.map((mount) => mount.mountPath));
  const names = new Set<string>();
  const paths = new Set<string>();
  for (const [i, { name, devicePath }] of (container.volumeDevices ?? []).entries()) {
    const here = `${at}.volumeDevices[${i}]`;
    const volume = context.volumes.get(name);
    if (!name) errors.required(`${here}.name`);
    if (names.has(name)) errors.invalid(`${here}.name`, name, "must be unique");
    if (volume === undefined) errors.notFound(`${here}.name`, name);
    else if (volume.persistentVolumeClaim === undefined && volume.ephemeral === undefined)
      errors.invalid(
        `${here}.name`,
        name,
        "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
      );
    if (!devicePath) errors.required(`${here}.devicePath`);
    if (paths.has(devicePath)) errors.invalid(`${here}.devicePath`, devicePath, "must be unique");
    if (hasBacksteps(devicePath)) errors.invalid(`${here}.devicePath`, devicePath, "can not contain backsteps ('..')");
    else paths.add(devicePath);
    if (mountNames.has(name)) errors.invalid(`${here}.name`, name, "must not already exist in volumeMounts");
    if (mountPaths.has(devicePath))
      errors.invalid(`${here}.devicePath`, devicePath, "must not already exist as a path in volumeMounts");
    if (name) names.add(name);
  }
}
