import { parseQuantity, type Volume } from "#k8s";
import type { FieldErrors } from "../field-errors.ts";
import { dnsSubdomainErrors, qualifiedNameErrors, validateLabels } from "../names.ts";
import { ABOVE_ZERO, among } from "./rules.ts";
import { validateSelector } from "./validate-placement.ts";

type Template = NonNullable<NonNullable<Volume["ephemeral"]>["volumeClaimTemplate"]>;

const MODES = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
const ALONE = "ReadWriteOncePod";

/** Upstream's ValidatePersistentVolumeClaimTemplate, but for its sources of data: no claim is ever made here. */
export function validateClaimTemplate({ metadata, spec }: Template, at: string, errors: FieldErrors): void {
  for (const key of Object.keys(metadata?.annotations ?? {}))
    errors.invalidAll(`${at}.metadata.annotations`, key, qualifiedNameErrors(key.toLowerCase()));
  validateLabels(metadata?.labels, `${at}.metadata.labels`, errors);
  for (const [name, value] of Object.entries(metadata ?? {}))
    if (name !== "annotations" && name !== "labels" && value !== null)
      errors.forbidden(`${at}.metadata.${name}`, "cannot be set");
  const field = `${at}.spec`;
  const { accessModes = [], selector, resources, storageClassName, volumeMode } = spec;
  if (accessModes.length === 0) errors.required(`${field}.accessModes`, "at least 1 access mode is required");
  validateSelector(selector, `${field}.selector`, errors);
  for (const mode of accessModes) among(mode, MODES, `${field}.accessModes`, errors);
  if (accessModes.includes(ALONE) && accessModes.some((mode) => mode !== ALONE && MODES.includes(mode)))
    errors.forbidden(`${field}.accessModes`, `may not use ${ALONE} with other access modes`);
  const storage = resources?.requests?.["storage"];
  if (storage === undefined) errors.required(`${field}.resources[storage]`);
  else if (parseQuantity(storage).nano <= 0n) errors.invalid(`${field}.resources[storage]`, storage, ABOVE_ZERO);
  if (storageClassName)
    errors.invalidAll(`${field}.storageClassName`, storageClassName, dnsSubdomainErrors(storageClassName));
  among(volumeMode, ["Block", "Filesystem"], `${field}.volumeMode`, errors);
}
