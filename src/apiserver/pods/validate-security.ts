import type { AnyContainer, PodSecurityContext, PodSpec } from "#k8s";
import type { FieldErrors } from "../field-errors.ts";
import { internalValue } from "./internal.ts";
import { among, identity, sharesUsers } from "./rules.ts";
import { descending } from "./validate-paths.ts";
import { validateWindowsOptions } from "./validate-windows.ts";

const PROFILES = ["Localhost", "RuntimeDefault", "Unconfined"];

type Seccomp = NonNullable<PodSecurityContext["seccompProfile"]>;
type AppArmor = NonNullable<PodSecurityContext["appArmorProfile"]>;

/** Upstream's validatePodSpecSecurityContext. */
export function validatePodSecurity(spec: PodSpec, field: string, errors: FieldErrors): void {
  const security = spec.securityContext;
  if (security === undefined) return;
  identity(security.fsGroup, `${field}.fsGroup`, errors);
  identity(security.runAsUser, `${field}.runAsUser`, errors);
  identity(security.runAsGroup, `${field}.runAsGroup`, errors);
  for (const [i, group] of (security.supplementalGroups ?? []).entries())
    identity(group, `${field}.supplementalGroups[${i}]`, errors);
  if (spec.shareProcessNamespace === true && spec.hostPID === true)
    errors.invalid(`${field}.shareProcessNamespace`, true, "ShareProcessNamespace and HostPID cannot both be enabled");
  validateSysctls(spec, `${field}.sysctls`, errors);
  among(security.fsGroupChangePolicy, ["Always", "OnRootMismatch"], `${field}.fsGroupChangePolicy`, errors);
  validateSeccomp(security.seccompProfile, `${field}.seccompProfile`, errors);
  validateWindowsOptions(security.windowsOptions, `${field}.windowsOptions`, errors);
  validateAppArmor(security.appArmorProfile, `${field}.appArmorProfile`, errors);
  among(security.supplementalGroupsPolicy, ["Merge", "Strict"], `${field}.supplementalGroupsPolicy`, errors);
  among(security.seLinuxChangePolicy, ["MountOption", "Recursive"], `${field}.seLinuxChangePolicy`, errors);
}

/** Upstream's ValidateSecurityContext, of one container. */
export function validateSecurity(container: AnyContainer, field: string, spec: PodSpec, errors: FieldErrors): void {
  const security = container.securityContext;
  if (security === undefined) return;
  identity(security.runAsUser, `${field}.runAsUser`, errors);
  identity(security.runAsGroup, `${field}.runAsGroup`, errors);
  among(security.procMount, ["Default", "Unmasked"], `${field}.procMount`, errors);
  if (security.procMount === "Unmasked" && sharesUsers(spec))
    errors.invalid(`${field}.procMount`, security.procMount, "`hostUsers` must be false to use `Unmasked`");
  validateSeccomp(security.seccompProfile, `${field}.seccompProfile`, errors);
  if (security.allowPrivilegeEscalation === false) {
    const cannot = (what: string): void =>
      errors.invalid(
        field,
        internalValue(security, "v1.SecurityContext"),
        `cannot set \`allowPrivilegeEscalation\` to false and ${what}`,
      );
    if (security.privileged === true) cannot("`privileged` to true");
    for (const capability of security.capabilities?.add ?? [])
      if (capability === "CAP_SYS_ADMIN") cannot("`capabilities.Add` CAP_SYS_ADMIN");
  }
  validateWindowsOptions(security.windowsOptions, `${field}.windowsOptions`, errors);
  validateAppArmor(security.appArmorProfile, `${field}.appArmorProfile`, errors);
}

const SYSCTL_PART = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
const SYSCTL_WORDS = `^(${SYSCTL_PART}[\\./])*${SYSCTL_PART}$`;
const SYSCTL = new RegExp(SYSCTL_WORDS);

function validateSysctls(spec: PodSpec, field: string, errors: FieldErrors): void {
  const names = new Set<string>();
  for (const [i, { name }] of (spec.securityContext?.sysctls ?? []).entries()) {
    const here = `${field}[${i}].name`;
    if (!name) errors.required(here);
    else if (name.length > 253 || !SYSCTL.test(name))
      errors.invalid(here, name, `must have at most 253 characters and match regex ${SYSCTL_WORDS}`);
    else if (names.has(name)) errors.duplicate(here, name);
    const space = namespaceOf(name);
    if (space === "net" && spec.hostNetwork === true)
      errors.invalid(here, name, "may not be specified when 'hostNetwork' is true");
    else if (space === "ipc" && spec.hostIPC === true)
      errors.invalid(here, name, "may not be specified when 'hostIPC' is true");
    names.add(name);
  }
}

/** The kernel's namespace that a sysctl belongs to, where it belongs to one. */
function namespaceOf(name: string): "ipc" | "net" | undefined {
  const separator = /[./]/.exec(name)?.[0];
  const dotted = separator === "/" ? name.replaceAll("/", ".") : name;
  if (dotted === "kernel.sem" || /^(kernel\.(shm|msg)|fs\.mqueue\.)/.test(dotted)) return "ipc";
  return dotted.startsWith("net.") ? "net" : undefined;
}

function validateSeccomp(profile: Seccomp | undefined, field: string, errors: FieldErrors): void {
  if (profile === undefined) return;
  const { type, localhostProfile } = profile;
  if (!type) errors.required(`${field}.type`, "type is required when seccompProfile is set");
  else among(type, PROFILES, `${field}.type`, errors);
  const path = `${field}.localhostProfile`;
  if (type === "Localhost") {
    if (localhostProfile === undefined) errors.required(path, "must be set when seccomp type is Localhost");
    else descending(localhostProfile, path, errors);
  } else if (localhostProfile !== undefined)
    errors.invalid(path, internalValue(profile, "v1.SeccompProfile"), "can only be set when seccomp type is Localhost");
}

/** The longest path, without the byte that ends it. */
const MAX_PROFILE = 4095;

/** Upstream's ValidateAppArmorProfileField. */
function validateAppArmor(profile: AppArmor | undefined, field: string, errors: FieldErrors): void {
  if (profile === undefined) return;
  const { type, localhostProfile } = profile;
  const path = `${field}.localhostProfile`;
  if (type === "Localhost") {
    if (localhostProfile === undefined) return errors.required(path, "must be set when AppArmor type is Localhost");
    if (localhostProfile.trim() !== localhostProfile)
      errors.invalid(path, localhostProfile, "must not be padded with whitespace");
    else if (localhostProfile === "") errors.required(path, "must be set when AppArmor type is Localhost");
    if (Buffer.byteLength(localhostProfile) > MAX_PROFILE) errors.tooLong(path, MAX_PROFILE);
  } else if (!type) errors.required(`${field}.type`, "type is required when appArmorProfile is set");
  else if (!PROFILES.includes(type)) errors.unsupported(`${field}.type`, type, PROFILES);
  else if (localhostProfile !== undefined)
    errors.invalid(path, localhostProfile, "can only be set when AppArmor type is Localhost");
}
