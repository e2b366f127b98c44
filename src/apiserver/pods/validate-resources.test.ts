import { pod, table, type Row } from "./testing/table.ts";

const C = "spec.containers[0]";
const R = `${C}.resources`;
const row = (title: string, resources: object, ...expected: string[]): Row => [title, pod({}, { resources }), expected];

table([
  row("enough", { limits: { cpu: "1", "example.com/gpu": "2" }, requests: { cpu: "500m" } }),
  row(
    "more than there may be",
    { limits: { memory: "1Gi" }, requests: { memory: "2Gi" } },
    `${R}.requests: Invalid value: "2Gi": must be less than or equal to memory limit of 1Gi`,
  ),
  row(
    "less than nothing",
    { requests: { cpu: "-1" } },
    `${R}.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0`,
  ),
  row(
    "what the cluster counts, but no container",
    { requests: { pods: "1" } },
    `${R}.requests[pods]: Invalid value: "pods": must be a standard resource for containers`,
  ),
  row(
    "parts of a device",
    { requests: { "example.com/gpu": "1500m" } },
    `${R}.requests[example.com/gpu]: Invalid value: "1500m": must be an integer`,
    `${R}.limits: Required value: Limit must be set for non overcommitable resources`,
  ),
  row(
    "fewer devices than allowed",
    { limits: { "example.com/gpu": "2" }, requests: { "example.com/gpu": "1" } },
    `${R}.requests: Invalid value: "1": must be equal to example.com/gpu limit of 2`,
  ),
  row(
    "huge pages alone, and in parts",
    { limits: { "hugepages-2Mi": "3Mi" } },
    `${R}.limits[hugepages-2Mi]: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-2Mi`,
    `${R}.requests[hugepages-2Mi]: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-2Mi`,
    `${R}: Forbidden: HugePages require cpu or memory`,
  ),
  [
    "claims",
    pod(
      { resourceClaims: [{ name: "a" }, { name: "a", resourceClaimName: "x" }, { name: "b", resourceClaimName: "B" }] },
      { resources: { claims: [{ name: "" }, { name: "a", request: "r" }, { name: "a" }, { name: "z" }] } },
    ),
    [
      'spec.resourceClaims[0]: Invalid value: {"Name":"a","ResourceClaimName":null,"ResourceClaimTemplateName":null}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`',
      'spec.resourceClaims[1].name: Duplicate value: "a"',
      `spec.resourceClaims[2].resourceClaimName: Invalid value: "B": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`,
      `${R}.claims[0]: Required value`,
      `${R}.claims[2]: Duplicate value: "a"`,
      `${R}.claims[3]: Not found: "z": must be one of the names in pod.spec.resourceClaims: a, b`,
    ],
  ],
  [
    "a claim where there are none",
    pod({}, { resources: { claims: [{ name: "z" }] } }),
    [`${R}.claims[0]: Not found: "z": must be one of the names in pod.spec.resourceClaims which is empty`],
  ],
  [
    "less for all than for one",
    pod(
      { resources: { requests: { cpu: "1", "ephemeral-storage": "1" }, limits: { cpu: "2" } } },
      { resources: { requests: { cpu: "1500m" }, limits: { cpu: "3" } } },
    ),
    [
      'spec.resources.requests[ephemeral-storage]: Unsupported value: "ephemeral-storage": supported values: "cpu", "memory"',
      'spec.resources.requests[cpu]: Invalid value: "1": must be greater than or equal to aggregate container requests of 1500m',
      'spec.resources.containers[0][cpu].limits: Invalid value: "3": must be less than or equal to pod limits of 2',
    ],
  ],
  [
    "resizing",
    pod(
      { restartPolicy: "Never" },
      {
        resizePolicy: [
          { resourceName: "cpu", restartPolicy: "RestartContainer" },
          { resourceName: "cpu", restartPolicy: "" },
          { resourceName: "gold", restartPolicy: "NotRequired" },
        ],
      },
    ),
    [
      `${C}.resizePolicy: Invalid value: "RestartContainer": must be 'NotRequired' when pod \`restartPolicy\` is 'Never'`,
      `${C}.resizePolicy[1]: Duplicate value: "cpu"`,
      `${C}.resizePolicy: Required value`,
      `${C}.resizePolicy: Invalid value: "": must be 'NotRequired' when pod \`restartPolicy\` is 'Never'`,
      `${C}.resizePolicy: Unsupported value: "gold": supported values: "cpu", "memory"`,
    ],
  ],
  [
    "overhead",
    pod({ overhead: { gold: "1" } }),
    [
      'spec.overhead.limits[gold]: Invalid value: "gold": must be a standard resource type or fully qualified',
      'spec.overhead.limits[gold]: Invalid value: "gold": must be a standard resource for containers',
    ],
  ],
]);
