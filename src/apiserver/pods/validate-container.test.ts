import { pod, table, type Row } from "./testing/table.ts";

const C = "spec.containers[0]";
const I = "spec.initContainers[0]";
const row = (title: string, container: object, ...expected: string[]): Row => [title, pod({}, container), expected];
const init = (title: string, container: object, ...expected: string[]): Row => [
  title,
  pod({ initContainers: [{ name: "i", image: "b:1", ...container }] }),
  expected,
];
const probe = { exec: { command: ["x"] } };
const QUALIFIED =
  "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

table([
  row("no name and no image", { name: "", image: "" }, `${C}.name: Required value`, `${C}.image: Required value`),
  row("a name with dots", { name: "a.b" }, `${C}.name: Invalid value: "a.b": must not contain dots`),
  row(
    "an odd way to tell of its end",
    { terminationMessagePolicy: "Log" },
    `${C}.terminationMessagePolicy: Unsupported value: "Log": supported values: "File", "FallbackToLogsOnError"`,
  ),
  row(
    "ports",
    {
      ports: [
        { containerPort: 0, name: "a" },
        { containerPort: 1, name: "a", hostPort: 70000, protocol: "ICMP" },
        { containerPort: 2, name: "a--b-" },
      ],
    },
    `${C}.ports[0].containerPort: Required value`,
    `${C}.ports[1].name: Duplicate value: "a"`,
    `${C}.ports[1].hostPort: Invalid value: 70000: must be between 1 and 65535, inclusive`,
    `${C}.ports[1].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"`,
    `${C}.ports[2].name: Invalid value: "a--b-": must not contain consecutive hyphens`,
    `${C}.ports[2].name: Invalid value: "a--b-": must not begin or end with a hyphen`,
  ),
  [
    "one port of the host twice",
    pod({
      containers: [
        { name: "a", image: "b", ports: [{ containerPort: 1, hostPort: 80 }] },
        { name: "b", image: "b", ports: [{ containerPort: 2, hostPort: 80 }] },
      ],
    }),
    ['spec.containers[1].ports[0].hostPort: Duplicate value: "TCP//80"'],
  ],
  [
    "ports that are not the host's",
    pod({ hostNetwork: true }, { ports: [{ containerPort: 1, hostPort: 2 }] }),
    [`${C}.ports[0].hostPort: Invalid value: 2: must match \`containerPort\` when \`hostNetwork\` is true`],
  ],
  row(
    "the environment",
    {
      env: [
        { name: "" },
        { name: "A", value: "1", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
        { name: "B", valueFrom: { configMapKeyRef: { key: "" }, secretKeyRef: { name: "s", key: "a/b" } } },
        { name: "C", valueFrom: { fieldRef: { fieldPath: "metadata.labels" } } },
        { name: "D", valueFrom: { fieldRef: { fieldPath: "spec.host" } } },
        { name: "E", valueFrom: { fieldRef: { fieldPath: "metadata.labels['a b']" } } },
        { name: "F", valueFrom: { fieldRef: { fieldPath: "spec['a']" } } },
        { name: "G", valueFrom: { resourceFieldRef: { resource: "limits.gold" } } },
      ],
    },
    `${C}.env[0].name: Required value`,
    `${C}.env[1].valueFrom: Invalid value: "": may not be specified when \`value\` is not empty`,
    `${C}.env[2].valueFrom.configMapKeyRef.name: Invalid value: "": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`,
    `${C}.env[2].valueFrom.configMapKeyRef.key: Required value`,
    `${C}.env[2].valueFrom.secretKeyRef.key: Invalid value: "a/b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')`,
    `${C}.env[2].valueFrom: Invalid value: "": may not have more than one field specified at a time`,
    `${C}.env[3].valueFrom.fieldRef.fieldPath: Unsupported value: "metadata.labels": supported values: "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"`,
    `${C}.env[5].valueFrom.fieldRef: Invalid value: "a b": name part ${QUALIFIED}`,
    `${C}.env[6].valueFrom.fieldRef.fieldPath: Invalid value: "spec['a']": error converting fieldPath: field label does not support subscript: spec['a']`,
    `${C}.env[7].valueFrom.resourceFieldRef.resource: Unsupported value: "limits.gold": supported values: "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"`,
  ),
  [
    "variables from files",
    pod(
      { volumes: [{ name: "v", image: { reference: "a" } }] },
      {
        env: [
          { name: "A", valueFrom: { fileKeyRef: { volumeName: "", path: "", key: "" } } },
          { name: "B", valueFrom: { fileKeyRef: { volumeName: "v", path: "a/..", key: "k=" } } },
          { name: "C", valueFrom: { fileKeyRef: { volumeName: "w", path: "a", key: "k" } } },
        ],
      },
    ),
    [
      `${C}.env[0].valueFrom.fileKeyRef.key: Required value`,
      `${C}.env[0].valueFrom.fileKeyRef.volumeName: Required value`,
      `${C}.env[0].valueFrom.fileKeyRef.path: Required value`,
      `${C}.env[1].valueFrom.fileKeyRef.key: Invalid value: "k=": a valid environment variable name must consist only of printable ASCII characters other than '='`,
      `${C}.env[1].valueFrom.fileKeyRef.path: Invalid value: "a/..": must not contain '..'`,
      `${C}.env[0].valueFrom.fileKeyRef.volumeName: Not found: ""`,
      `${C}.env[1].valueFrom.fileKeyRef.volumeName: Invalid value: "v": referenced volume must be of type emptyDir`,
      `${C}.env[2].valueFrom.fileKeyRef.volumeName: Not found: "w"`,
    ],
  ],
  row(
    "environments from elsewhere",
    { envFrom: [{ prefix: "=" }, { configMapRef: {}, secretRef: { name: "a-" } }, { secretRef: { name: "A" } }] },
    `${C}.envFrom[0].prefix: Invalid value: "=": a valid environment variable name must consist only of printable ASCII characters other than '='`,
    `${C}.envFrom: Invalid value: "": must specify one of: \`configMapRef\` or \`secretRef\``,
    `${C}.envFrom[1].configMapRef.name: Required value`,
    `${C}.envFrom: Invalid value: "": may not have more than one field specified at a time`,
    `${C}.envFrom[2].secretRef.name: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`,
  ),
  row(
    "a probe of odd numbers",
    {
      readinessProbe: {
        httpGet: { port: 0, scheme: "FTP", httpHeaders: [{ name: "a b" }] },
        periodSeconds: -1,
        terminationGracePeriodSeconds: 0,
      },
    },
    `${C}.readinessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive`,
    `${C}.readinessProbe.httpGet.scheme: Unsupported value: "FTP": supported values: "HTTP", "HTTPS"`,
    `${C}.readinessProbe.httpGet.httpHeaders: Invalid value: "a b": a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')`,
    `${C}.readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0`,
    `${C}.readinessProbe.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0`,
    `${C}.readinessProbe.terminationGracePeriodSeconds: Invalid value: 0: must not be set for readinessProbes`,
  ),
  row(
    "hooks",
    { lifecycle: { postStart: {}, preStop: { exec: { command: [] }, sleep: { seconds: 31 } } } },
    `${C}.lifecycle.postStart: Required value: must specify a handler type`,
    `${C}.lifecycle.preStop.exec.command: Required value`,
    `${C}.lifecycle.preStop.sleep: Forbidden: may not specify more than 1 handler type`,
  ),
  row(
    "a hook that sleeps too long",
    { lifecycle: { preStop: { sleep: { seconds: 31 } } } },
    `${C}.lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)`,
  ),
  row(
    "rules of restarting",
    { restartPolicyRules: [{ action: "Stop" }] },
    `${C}.restartPolicy: Required value: must specify restartPolicy when restart rules are used`,
    `${C}.restartPolicyRules[0].action: Unsupported value: "Stop": supported values: "Restart", "RestartAllContainers"`,
    `${C}.restartPolicyRules[0].exitCodes: Required value: must be specified`,
  ),
  init(
    "an init container that restarts in an odd way",
    { restartPolicy: "Sometimes" },
    `${I}.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"`,
  ),
  init(
    "what only a container that runs on may have",
    { lifecycle: { preStop: probe }, livenessProbe: probe, readinessProbe: probe, startupProbe: probe },
    ...["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"].map(
      (name) => `${I}.${name}: Forbidden: may not be set for init containers without restartPolicy=Always`,
    ),
  ),
  init("the same of one that does", { restartPolicy: "Always", livenessProbe: probe, lifecycle: { preStop: probe } }),
  init(
    "an init container that restarts to be resized",
    { resizePolicy: [{ resourceName: "cpu", restartPolicy: "RestartContainer" }] },
    `${I}.resizePolicy[0].restartPolicy: Invalid value: "RestartContainer": must not be set to 'RestartContainer' for non-sidecar initContainers`,
  ),
  [
    "names across lists",
    pod({
      initContainers: [{ name: "c", image: "b" }],
      ephemeralContainers: [
        { name: "c", image: " b", targetContainerName: "x", restartPolicy: "Always", ports: [{ containerPort: 1 }] },
      ],
    }),
    [
      `${I}.name: Duplicate value: "c"`,
      'spec.ephemeralContainers[0].image: Invalid value: " b": must not have leading or trailing whitespace',
      'spec.ephemeralContainers[0].name: Duplicate value: "c"',
      'spec.ephemeralContainers[0].targetContainerName: Not found: "x"',
      "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
      "spec.ephemeralContainers[0].restartPolicy: Forbidden: cannot be set for an Ephemeral Container",
      "spec.ephemeralContainers: Forbidden: cannot be set on create",
    ],
  ],
]);
