import { pod, table, type Row } from "./testing/table.ts";

const S = "spec.securityContext";
const C = "spec.containers[0].securityContext";
const ofPod = (title: string, securityContext: object, ...expected: string[]): Row => [
  title,
  pod({ securityContext }),
  expected,
];
const own = (title: string, securityContext: object, ...expected: string[]): Row => [
  title,
  pod({}, { securityContext }),
  expected,
];
const ID = "must be between 0 and 2147483647, inclusive";
const NULLS = {
  Capabilities: null,
  Privileged: null,
  SELinuxOptions: null,
  WindowsOptions: null,
  RunAsUser: null,
  RunAsGroup: null,
  RunAsNonRoot: null,
  ReadOnlyRootFilesystem: null,
  AllowPrivilegeEscalation: false,
  ProcMount: null,
  SeccompProfile: null,
  AppArmorProfile: null,
};

table([
  ofPod(
    "numbers of users and groups",
    { fsGroup: -1, runAsUser: -2, runAsGroup: 2147483648, supplementalGroups: [1, -3] },
    `${S}.fsGroup: Invalid value: -1: ${ID}`,
    `${S}.runAsUser: Invalid value: -2: ${ID}`,
    `${S}.runAsGroup: Invalid value: 2147483648: ${ID}`,
    `${S}.supplementalGroups[1]: Invalid value: -3: ${ID}`,
  ),
  ofPod(
    "policies that are none",
    { fsGroupChangePolicy: "Never", supplementalGroupsPolicy: "Loose", seLinuxChangePolicy: "None" },
    `${S}.fsGroupChangePolicy: Unsupported value: "Never": supported values: "Always", "OnRootMismatch"`,
    `${S}.supplementalGroupsPolicy: Unsupported value: "Loose": supported values: "Merge", "Strict"`,
    `${S}.seLinuxChangePolicy: Unsupported value: "None": supported values: "MountOption", "Recursive"`,
  ),
  [
    "settings of the kernel",
    pod({
      hostNetwork: true,
      securityContext: { sysctls: [{ name: "" }, { name: "a..b" }, { name: "net.a" }, { name: "net.a" }] },
    }),
    [
      `${S}.sysctls[0].name: Required value`,
      `${S}.sysctls[1].name: Invalid value: "a..b": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$`,
      `${S}.sysctls[2].name: Invalid value: "net.a": may not be specified when 'hostNetwork' is true`,
      `${S}.sysctls[3].name: Duplicate value: "net.a"`,
      `${S}.sysctls[3].name: Invalid value: "net.a": may not be specified when 'hostNetwork' is true`,
    ],
  ],
  ofPod(
    "profiles of their own place",
    { seccompProfile: { type: "Localhost" }, appArmorProfile: { type: "Localhost", localhostProfile: " a" } },
    `${S}.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost`,
    `${S}.appArmorProfile.localhostProfile: Invalid value: " a": must not be padded with whitespace`,
  ),
  ofPod(
    "profiles of no kind",
    { seccompProfile: { type: "" }, appArmorProfile: { type: "Mine" } },
    `${S}.seccompProfile.type: Required value: type is required when seccompProfile is set`,
    `${S}.appArmorProfile.type: Unsupported value: "Mine": supported values: "Localhost", "RuntimeDefault", "Unconfined"`,
  ),
  ofPod(
    "a profile where none belongs",
    {
      seccompProfile: { type: "Unconfined", localhostProfile: "a" },
      appArmorProfile: { type: "Unconfined", localhostProfile: "a" },
    },
    `${S}.seccompProfile.localhostProfile: Invalid value: {"Type":"Unconfined","LocalhostProfile":"a"}: can only be set when seccomp type is Localhost`,
    `${S}.appArmorProfile.localhostProfile: Invalid value: "a": can only be set when AppArmor type is Localhost`,
  ),
  [
    "one namespace of processes, and the host's",
    pod({ shareProcessNamespace: true, hostPID: true }),
    [`${S}.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled`],
  ],
  own(
    "all of /proc with the host's users",
    { procMount: "Unmasked" },
    `${C}.procMount: Invalid value: "Unmasked": \`hostUsers\` must be false to use \`Unmasked\``,
  ),
  ["all of /proc with users of its own", pod({ hostUsers: false }, { securityContext: { procMount: "Unmasked" } }), []],
  own(
    "privileged, but not to become so",
    { allowPrivilegeEscalation: false, privileged: true, capabilities: { add: ["CAP_SYS_ADMIN"] } },
    ...["`privileged` to true", "`capabilities.Add` CAP_SYS_ADMIN"].map(
      (what) =>
        `${C}: Invalid value: ${JSON.stringify({ ...NULLS, Capabilities: { Add: ["CAP_SYS_ADMIN"], Drop: null }, Privileged: true })}: cannot set \`allowPrivilegeEscalation\` to false and ${what}`,
    ),
  ),
  own(
    "options of Windows",
    { windowsOptions: { gmsaCredentialSpec: "", runAsUserName: "a\\b\\c", hostProcess: true } },
    `${C}.windowsOptions.gmsaCredentialSpec: Invalid value: "": gmsaCredentialSpec cannot be an empty string`,
    `${C}.windowsOptions.runAsUserName: Invalid value: "a\\\\b\\\\c": runAsUserName cannot contain more than one backslash`,
    "spec.hostNetwork: Invalid value: false: hostNetwork must be true if pod contains any hostProcess containers",
  ),
  [
    "options of Windows on Linux",
    pod(
      { os: { name: "linux" }, securityContext: { windowsOptions: {} } },
      { securityContext: { windowsOptions: {} } },
    ),
    [
      `${S}.windowsOptions: Forbidden: windows options cannot be set for a linux pod`,
      `${C}.windowsOptions: Forbidden: windows options cannot be set for a linux pod`,
    ],
  ],
  [
    "what Windows has not",
    pod(
      { os: { name: "windows" }, hostPID: true, securityContext: { runAsUser: 1 } },
      { securityContext: { privileged: true } },
    ),
    [
      "spec.hostPID: Forbidden: cannot be set for a windows pod",
      `${S}.runAsUser: Forbidden: cannot be set for a windows pod`,
      `${C}.privileged: Forbidden: cannot be set for a windows pod`,
    ],
  ],
  [
    "profiles in annotations",
    pod(
      { securityContext: { seccompProfile: { type: "RuntimeDefault" } } },
      { securityContext: { appArmorProfile: { type: "Unconfined" } } },
      {
        annotations: {
          "seccomp.security.alpha.kubernetes.io/pod": "unconfined",
          "container.apparmor.security.beta.kubernetes.io/c": "localhost/x",
          "container.apparmor.security.beta.kubernetes.io/d": "odd",
          "controller.kubernetes.io/pod-deletion-cost": "1.5",
        },
      },
    ),
    [
      'metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: "1.5": must be a 32bit integer',
      'metadata.annotations[container.apparmor.security.beta.kubernetes.io/d]: Invalid value: "d": container not found',
      'metadata.annotations[container.apparmor.security.beta.kubernetes.io/d]: Invalid value: "odd": invalid AppArmor profile name: "odd"',
      `${S}.seccompProfile.type: Forbidden: seccomp type in annotation and field must match`,
      `${C}.appArmorProfile.type: Forbidden: apparmor type in annotation and field must match`,
    ],
  ],
]);
