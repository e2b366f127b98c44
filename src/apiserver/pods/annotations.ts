import { isRecord, type Pod, type PodSpec } from "#k8s";
import type { FieldErrors } from "../field-errors.ts";
import { containersWithPaths } from "./rules.ts";
import { descending } from "./validate-paths.ts";

type Annotations = Readonly<Record<string, string>>;

/** A kubelet's own account of a Pod that no API asked for. */
export const MIRROR = "kubernetes.io/config.mirror";
const DELETION_COST = "controller.kubernetes.io/pod-deletion-cost";
export const APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/";
export const SECCOMP = "seccomp.security.alpha.kubernetes.io/pod";
export const SECCOMP_OF = "container.seccomp.security.alpha.kubernetes.io/";

/** Upstream's ValidatePodSpecificAnnotations: what annotations say that once had no field. */
export function validatePodAnnotations(
  annotations: Annotations,
  spec: PodSpec,
  field: string,
  errors: FieldErrors,
): void {
  const mirror = annotations[MIRROR];
  if (mirror !== undefined && !spec.nodeName)
    errors.invalid(`${field}[${MIRROR}]`, mirror, "must set spec.nodeName if mirror pod annotation is set");
  const cost = annotations[DELETION_COST];
  if (cost !== undefined && !isInt32(cost))
    errors.invalid(`${field}[${DELETION_COST}]`, cost, "must be a 32bit integer");
  const keys = Object.keys(annotations).sort();
  for (const key of [SECCOMP, ...keys.filter((key) => key.startsWith(SECCOMP_OF))])
    if (annotations[key] !== undefined) seccomp(annotations[key], `${field}.${key}`, errors);
  const names = new Set(containersWithPaths(spec, "").map(({ container }) => container.name));
  for (const key of keys.filter((key) => key.startsWith(APP_ARMOR))) {
    const container = key.slice(APP_ARMOR.length);
    const profile = annotations[key] ?? "";
    if (!names.has(container)) errors.invalid(`${field}[${key}]`, container, "container not found");
    if (!["", "runtime/default", "unconfined"].includes(profile) && !profile.startsWith("localhost/"))
      errors.invalid(`${field}[${key}]`, profile, `invalid AppArmor profile name: ${JSON.stringify(profile)}`);
  }
}

function isInt32(text: string): boolean {
  return /^(-?[1-9]\d*|0)$/.test(text) && Number(text) === (Number(text) | 0);
}

function seccomp(profile: string, field: string, errors: FieldErrors): void {
  if (["runtime/default", "docker/default", "unconfined"].includes(profile)) return;
  if (profile.startsWith("localhost/")) descending(profile.slice("localhost/".length), field, errors);
  else errors.invalid(field, profile, "must be a valid seccomp profile");
}

/** Upstream's ValidatePodSpecificAnnotationUpdates: some annotations say what a Pod is, and stay. */
export function validateAnnotationUpdate(pod: Pod, before: Pod, errors: FieldErrors): void {
  const field = "metadata.annotations";
  const now: Annotations = pod.metadata?.annotations ?? {};
  const old: Annotations = before.metadata?.annotations ?? {};
  for (const key of Object.keys(old).filter((key) => old[key] !== now[key])) {
    if (key.startsWith(APP_ARMOR))
      errors.forbidden(`${field}[${key}]`, "may not remove or update AppArmor annotations");
    if (key === MIRROR) errors.forbidden(`${field}[${key}]`, "may not remove or update mirror pod annotation");
  }
  for (const key of Object.keys(now).filter((key) => old[key] === undefined)) {
    if (key.startsWith(APP_ARMOR)) errors.forbidden(`${field}[${key}]`, "may not add AppArmor annotations");
    if (key === MIRROR) errors.forbidden(`${field}[${key}]`, "may not add mirror pod annotation");
  }
  validatePodAnnotations(now, pod.spec ?? { containers: [] }, field, errors);
}

const WORDS: Readonly<Record<string, readonly string[]>> = {
  Unconfined: ["unconfined"],
  RuntimeDefault: ["runtime/default"],
};

/** A profile that is given twice, by annotation and by field, must be the same. */
export function validateProfilesMatch(
  annotations: Annotations,
  spec: PodSpec,
  field: string,
  errors: FieldErrors,
): void {
  const match = (what: "seccomp" | "apparmor", key: string, profile: unknown, at: string): void => {
    const given = annotations[key];
    if (given === undefined || !isRecord(profile)) return;
    const { type, localhostProfile } = profile;
    const words = WORDS[String(type)];
    const isSame =
      type === "Localhost"
        ? given.startsWith("localhost/")
        : (words?.includes(given) ?? true) ||
          (what === "seccomp" && type === "RuntimeDefault" && given === "docker/default");
    if (!isSame) errors.forbidden(`${at}.type`, `${what} type in annotation and field must match`);
    else if (type === "Localhost" && given !== `localhost/${String(localhostProfile)}`)
      errors.forbidden(`${at}.localhostProfile`, `${what} profile in annotation and field must match`);
  };
  const { seccompProfile, appArmorProfile } = spec.securityContext ?? {};
  const containers = containersWithPaths(spec, field);
  match("seccomp", SECCOMP, seccompProfile, `${field}.securityContext.seccompProfile`);
  for (const { at, container } of containers)
    match(
      "seccomp",
      SECCOMP_OF + container.name,
      container.securityContext?.seccompProfile,
      `${at}.securityContext.seccompProfile`,
    );
  if (spec.os?.name === "windows") return;
  for (const { at, container } of containers)
    match(
      "apparmor",
      APP_ARMOR + container.name,
      container.securityContext?.appArmorProfile ?? appArmorProfile,
      `${at}.securityContext.appArmorProfile`,
    );
}
