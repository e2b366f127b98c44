import type { PodSecurityContext, PodSpec } from "#k8s";
import type { FieldErrors } from "../field-errors.ts";
import { dnsSubdomainErrors } from "../names.ts";
import { containersWithPaths } from "./rules.ts";

type WindowsOptions = NonNullable<PodSecurityContext["windowsOptions"]>;

const MAX_SPEC = 64 * 1024;
const NETBIOS = /^[^\\/:*?"<>|.][^\\/:*?"<>|]{0,14}$/;
const DNS = /^[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*$/;

/** Upstream's validateWindowsSecurityContextOptions. */
export function validateWindowsOptions(options: WindowsOptions | undefined, field: string, errors: FieldErrors): void {
  if (options === undefined) return;
  const { gmsaCredentialSpecName: name, gmsaCredentialSpec: spec, runAsUserName: user } = options;
  if (name !== undefined) errors.invalidAll(`${field}.gmsaCredentialSpecName`, name, dnsSubdomainErrors(name));
  if (spec === "") errors.invalid(`${field}.gmsaCredentialSpec`, spec, "gmsaCredentialSpec cannot be an empty string");
  else if (spec !== undefined && Buffer.byteLength(spec) > MAX_SPEC)
    errors.invalid(`${field}.gmsaCredentialSpec`, spec, "gmsaCredentialSpec size must be under 64 KiB");
  if (user === undefined) return;
  errors.invalidAll(`${field}.runAsUserName`, user, userErrors(user));
}

function userErrors(name: string): string[] {
  if (name === "") return ["runAsUserName cannot be an empty string"];
  // oxlint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f]/.test(name)) return ["runAsUserName cannot contain control characters"];
  const parts = name.split("\\");
  if (parts.length > 2) return ["runAsUserName cannot contain more than one backslash"];
  const user = parts.at(-1) ?? "";
  const domain = parts.length === 2 ? parts[0] : undefined;
  const found: string[] = [];
  if (domain !== undefined && Buffer.byteLength(domain) >= 256)
    found.push("runAsUserName's Domain length must be under 256 characters");
  if (domain !== undefined && !NETBIOS.test(domain) && !DNS.test(domain))
    found.push("runAsUserName's Domain doesn't match the NetBios nor the DNS format");
  if (user === "") found.push("runAsUserName's User cannot be empty");
  else if (Buffer.byteLength(user) > 104)
    found.push("runAsUserName's User length must not be longer than 104 characters");
  if (/^[. ]+$/.test(user)) found.push("runAsUserName's User cannot contain only periods or spaces");
  if (/["/\\:;|=,+*?<>@[\]]/.test(user))
    found.push(`runAsUserName's User cannot contain the following characters: "/\\:;|=,+*?<>@[]`);
  return found;
}

/** Upstream's validateWindowsHostProcessPod: all containers are processes of the host, or none. */
export function validateHostProcesses(spec: PodSpec, field: string, errors: FieldErrors): void {
  const ofPod = spec.securityContext?.windowsOptions?.hostProcess;
  const containers = containersWithPaths(spec, field);
  let count = 0;
  for (const { at, container } of containers) {
    const own = container.securityContext?.windowsOptions?.hostProcess;
    if (ofPod !== undefined && own !== undefined && ofPod !== own)
      errors.invalid(
        `${at}.securityContext.windowsOptions.hostProcess`,
        own,
        `pod hostProcess value must be identical if both are specified, was ${ofPod}`,
      );
    if (own ?? ofPod === true) count++;
  }
  if (count === 0) return;
  if (count !== containers.length)
    errors.invalid(
      field,
      "",
      "If pod contains any hostProcess containers then all containers must be HostProcess containers",
    );
  if (spec.hostNetwork !== true)
    errors.invalid(
      `${field}.hostNetwork`,
      false,
      "hostNetwork must be true if pod contains any hostProcess containers",
    );
}

const LINUX_POD = [
  "appArmorProfile",
  "seLinuxOptions",
  "hostUsers",
  "hostPID",
  "hostIPC",
  "seccompProfile",
  "fsGroup",
  "fsGroupChangePolicy",
  "sysctls",
  "shareProcessNamespace",
  "runAsUser",
  "runAsGroup",
  "supplementalGroups",
  "supplementalGroupsPolicy",
  "seLinuxChangePolicy",
] as const;
const LINUX_CONTAINER = [
  "appArmorProfile",
  "seLinuxOptions",
  "seccompProfile",
  "capabilities",
  "readOnlyRootFilesystem",
  "privileged",
  "allowPrivilegeEscalation",
  "procMount",
  "runAsUser",
  "runAsGroup",
] as const;

/** What a Pod may not ask for on the operating system that it names. */
export function validateOs(spec: PodSpec, field: string, errors: FieldErrors): void {
  const name = spec.os?.name;
  if (spec.os === undefined) return;
  if (!name) errors.required(`${field}.os.name`);
  else if (name === "linux") linux(spec, field, errors);
  else if (name === "windows") windows(spec, field, errors);
  else errors.unsupported(`${field}.os`, name, ["linux", "windows"]);
}

function linux(spec: PodSpec, field: string, errors: FieldErrors): void {
  const why = "windows options cannot be set for a linux pod";
  if (spec.securityContext?.windowsOptions !== undefined)
    errors.forbidden(`${field}.securityContext.windowsOptions`, why);
  for (const { at, container } of containersWithPaths(spec, field))
    if (container.securityContext?.windowsOptions !== undefined)
      errors.forbidden(`${at}.securityContext.windowsOptions`, why);
}

function windows(spec: PodSpec, field: string, errors: FieldErrors): void {
  const why = "cannot be set for a windows pod";
  const { hostUsers, shareProcessNamespace } = spec;
  const ofSpec: Record<string, unknown> = {
    hostUsers,
    hostPID: spec.hostPID || undefined,
    hostIPC: spec.hostIPC || undefined,
    shareProcessNamespace,
  };
  for (const name of LINUX_POD) {
    if (ofSpec[name] !== undefined) errors.forbidden(`${field}.${name}`, why);
    const given = (spec.securityContext as Record<string, unknown> | undefined)?.[name];
    if (given !== undefined) errors.forbidden(`${field}.securityContext.${name}`, why);
  }
  for (const { at, container } of containersWithPaths(spec, field))
    for (const name of LINUX_CONTAINER)
      if (container.securityContext?.[name] !== undefined) errors.forbidden(`${at}.securityContext.${name}`, why);
}
