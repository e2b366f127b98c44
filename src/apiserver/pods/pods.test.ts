import assert from "node:assert/strict";
import { test } from "node:test";
import type { Pod, PodSpec } from "#k8s";
import { FieldErrors } from "../field-errors.ts";
import { qosClass } from "./aggregate.ts";
import { defaultPod } from "./defaults.ts";
import { unifiedDiff } from "./line-diff.ts";
import { defaultPullPolicy } from "./pull-policy.ts";
import { validatePodUpdate } from "./update.ts";
import { validatePod } from "./validate-spec.ts";
import { podWarnings } from "./warnings.ts";

const RULES = { imageSubPath: true, isPod: true };

type Loose = { [K in keyof PodSpec]?: unknown };

function pod(spec: Loose, container: object = {}): Pod {
  const made = {
    metadata: { name: "p", namespace: "default" },
    spec: { containers: [{ name: "c", image: "b:1", ...container }], ...spec },
  } as unknown as Pod;
  defaultPod(made, { imageVolume: true });
  return made;
}

function found(object: Pod): string[] {
  const errors = new FieldErrors();
  validatePod(object, RULES, errors);
  return errors.causes.map(({ field, message }) => `${field}: ${message}`);
}

const C = "spec.containers[0]";
const LABEL =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

const image = (reference = "a:1"): object => ({ name: "v", image: { reference } });
const cases: readonly [string, Pod, readonly string[]][] = [
  ["nothing wrong", pod({ volumes: [image()] }, { volumeMounts: [{ name: "v", mountPath: "/v" }] }), []],
  [
    "two sources",
    pod({ volumes: [{ ...image(), emptyDir: {} }] }),
    ["spec.volumes[0].image: Forbidden: may not specify more than 1 volume type"],
  ],
  [
    "a bad volume name",
    pod({ volumes: [{ name: "V", emptyDir: {} }] }),
    [`spec.volumes[0].name: Invalid value: "V": ${LABEL}`],
  ],
  [
    "no mount name",
    pod({ volumes: [image()] }, { volumeMounts: [{ name: "", mountPath: "/v" }] }),
    [`${C}.volumeMounts[0].name: Required value`, `${C}.volumeMounts[0].name: Not found: ""`],
  ],
  [
    "one path twice",
    pod(
      { volumes: [image()] },
      {
        volumeMounts: [
          { name: "v", mountPath: "/v" },
          { name: "v", mountPath: "/v" },
        ],
      },
    ),
    [`${C}.volumeMounts[1].mountPath: Invalid value: "/v": must be unique`],
  ],
  [
    "a subPath upward",
    pod({ volumes: [image()] }, { volumeMounts: [{ name: "v", mountPath: "/v", subPath: "a/../b" }] }),
    [`${C}.volumeMounts.subPath: Invalid value: "a/../b": must not contain '..'`],
  ],
  [
    "an odd propagation",
    pod({ volumes: [image()] }, { volumeMounts: [{ name: "v", mountPath: "/v", mountPropagation: "Odd" }] }),
    [
      `${C}.volumeMounts.mountPropagation: Unsupported value: "Odd": supported values: "Bidirectional", "HostToContainer", "None"`,
    ],
  ],
  [
    "recursive, not read-only",
    pod({ volumes: [image()] }, { volumeMounts: [{ name: "v", mountPath: "/v", recursiveReadOnly: "Enabled" }] }),
    [`${C}.volumeMounts.recursiveReadOnly: Forbidden: may only be specified when readOnly is true`],
  ],
  ["no image", pod({}, { image: "" }), [`${C}.image: Required value`]],
  [
    "blanks around an image",
    pod({}, { image: " b:1" }),
    [`${C}.image: Invalid value: " b:1": must not have leading or trailing whitespace`],
  ],
  [
    "one name twice",
    pod({
      containers: [
        { name: "c", image: "b:1" },
        { name: "c", image: "b:1" },
      ],
    }),
    ['spec.containers[1].name: Duplicate value: "c"'],
  ],
  [
    "an init container of the same name",
    pod({ initContainers: [{ name: "c", image: "b:1" }] }),
    ['spec.initContainers[0].name: Duplicate value: "c"'],
  ],
  [
    "a probe of a plain init container",
    pod({ initContainers: [{ name: "i", image: "b:1", livenessProbe: { exec: { command: ["x"] } } }] }),
    [
      "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
    ],
  ],
  [
    "a bad pull policy",
    pod({}, { imagePullPolicy: "Maybe" }),
    [`${C}.imagePullPolicy: Unsupported value: "Maybe": supported values: "Always", "IfNotPresent", "Never"`],
  ],
  [
    "more asked than allowed",
    pod({}, { resources: { requests: { cpu: "2" }, limits: { cpu: "1" } } }),
    [`${C}.resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1`],
  ],
  [
    "an unknown resource",
    pod({}, { resources: { limits: { gold: "1" } } }),
    [
      `${C}.resources.limits[gold]: Invalid value: "gold": must be a standard resource type or fully qualified`,
      `${C}.resources.limits[gold]: Invalid value: "gold": must be a standard resource for containers`,
      `${C}.resources.requests[gold]: Invalid value: "gold": must be a standard resource type or fully qualified`,
      `${C}.resources.requests[gold]: Invalid value: "gold": must be a standard resource for containers`,
    ],
  ],
  [
    "a port out of range",
    pod({}, { ports: [{ containerPort: 70000 }] }),
    [`${C}.ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive`],
  ],
  [
    "a bad port name",
    pod({}, { ports: [{ containerPort: 1, name: "UP" }] }),
    [
      `${C}.ports[0].name: Invalid value: "UP": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)`,
      `${C}.ports[0].name: Invalid value: "UP": must contain at least one letter (a-z)`,
    ],
  ],
  ["no handler", pod({}, { livenessProbe: {} }), [`${C}.livenessProbe: Required value: must specify a handler type`]],
  [
    "two handlers",
    pod({}, { livenessProbe: { exec: { command: ["x"] }, tcpSocket: { port: 1 } } }),
    [`${C}.livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type`],
  ],
  [
    "a liveness threshold",
    pod({}, { livenessProbe: { exec: { command: ["x"] }, successThreshold: 2 } }),
    [`${C}.livenessProbe.successThreshold: Invalid value: 2: must be 1`],
  ],
  [
    "env from nowhere",
    pod({}, { env: [{ name: "A", valueFrom: {} }] }),
    [
      `${C}.env[0].valueFrom: Invalid value: "": must specify one of: \`fieldRef\`, \`resourceFieldRef\`, \`configMapKeyRef\`, \`secretKeyRef\` or \`fileKeyRef\``,
    ],
  ],
  [
    "env from a field that is none",
    pod({}, { env: [{ name: "A", valueFrom: { fieldRef: { fieldPath: "spec.odd" } } }] }),
    [
      `${C}.env[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.odd": error converting fieldPath: field label not supported: spec.odd`,
    ],
  ],
  [
    "user ids",
    pod({ securityContext: { runAsUser: -1 } }),
    ["spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"],
  ],
  [
    "a deadline of nothing",
    pod({ activeDeadlineSeconds: 0 }),
    ["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"],
  ],
  [
    "DNS of nobody",
    pod({ dnsPolicy: "None" }),
    ["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
  ],
  [
    "a token of the account that every namespace has",
    pod({ volumes: [{ name: "t", projected: { sources: [{ serviceAccountToken: { path: "token" } }] } }] }),
    [],
  ],
  [
    "debugging from the start",
    pod({ ephemeralContainers: [{ name: "d", image: "b:1" }] }),
    ["spec.ephemeralContainers: Forbidden: cannot be set on create"],
  ],
  [
    "a toleration of everything but",
    pod({ tolerations: [{ operator: "Equal" }] }),
    [
      'spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means "match all values and all keys"',
    ],
  ],
  ["a host name with dots", pod({ hostname: "a.b" }), [`spec.hostname: Invalid value: "a.b": must not contain dots`]],
  [
    "a secret's mode",
    pod({ volumes: [{ name: "s", secret: { secretName: "s", defaultMode: 512 } }] }),
    [
      "spec.volumes[0].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
    ],
  ],
];
for (const [name, object, messages] of cases)
  test(`validation: ${name}`, () => assert.deepEqual(found(object), messages));

test("the pull policy follows the tag", () => {
  const always = ["a", "a:latest", "h:5000/a", "quay.io/a/b:latest@sha256:" + "a".repeat(64)];
  const present = [
    "a:1",
    "a@sha256:" + "a".repeat(64),
    "INVALID::ref",
    "",
    " a:1 ",
    "h:5000/a:v1",
    "a".repeat(64),
    "a:latest@sha256:abc",
  ];
  for (const reference of always) assert.equal(defaultPullPolicy(reference), "Always", reference);
  for (const reference of present) assert.equal(defaultPullPolicy(reference), "IfNotPresent", reference);
});

test("quality of service comes from requests and limits", () => {
  const resources = (limits: object, requests: object): Pod => pod({}, { resources: { limits, requests } });
  assert.equal(qosClass(resources({}, {})), "BestEffort");
  assert.equal(qosClass(resources({ cpu: "1" }, {})), "Burstable");
  assert.equal(qosClass(resources({ cpu: "1", memory: "1Gi" }, {})), "Guaranteed");
  assert.equal(qosClass(resources({ cpu: "1", memory: "1Gi" }, { cpu: "500m" })), "Burstable");
});

test("of a Pod's spec only images, deadlines and tolerations change", () => {
  const update = (next: Pod, before: Pod): string[] => {
    const errors = new FieldErrors();
    validatePodUpdate(next, before, RULES, errors);
    return errors.causes.map((cause) => `${cause.field}: ${cause.message.split("\n")[0]}`);
  };
  const before = pod({ tolerations: [{ key: "a", operator: "Exists" }] });
  assert.deepEqual(
    update(
      pod(
        {
          tolerations: [
            { key: "a", operator: "Exists" },
            { key: "b", operator: "Exists" },
          ],
          activeDeadlineSeconds: 5,
        },
        { image: "other:1" },
      ),
      before,
    ),
    [],
  );
  assert.deepEqual(
    update(pod({}), before)[0],
    "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds",
  );
  assert.match(
    update(pod({ tolerations: before.spec?.tolerations, hostname: "x" }), before)[0] ?? "",
    /^spec: Forbidden: pod updates may not change fields other than/,
  );
  assert.deepEqual(
    update(pod({ containers: [] }), before).at(-1),
    "spec.containers: Forbidden: pod updates may not add or remove containers",
  );
});

test("a diff shows three lines around each change, and joins what is near", () => {
  const lines = Array.from({ length: 30 }, (_, i) => `line ${i}`);
  const changed = lines.map((line, i) => (i === 4 || i === 8 || i === 25 ? `${line} new` : line));
  assert.equal(
    unifiedDiff(lines, changed),
    [
      "@@ -2,11 +2,11 @@",

      " line 1",
      " line 2",
      " line 3",
      "-line 4",
      "+line 4 new",
      " line 5",
      " line 6",
      " line 7",
      "-line 8",
      "+line 8 new",
      " line 9",
      " line 10",
      " line 11",
      "@@ -23,7 +23,7 @@",
      " line 22",
      " line 23",
      " line 24",
      "-line 25",
      "+line 25 new",
      " line 26",
      " line 27",
      " line 28",
      "",
    ].join("\n"),
  );
  assert.equal(unifiedDiff(lines, lines), "");
});

test("what the node cannot do is a warning, and so is what upstream warns of", () => {
  const warned = podWarnings(
    pod(
      {
        volumes: [{ name: "d", persistentVolumeClaim: { claimName: "x" } }, image()],
        imagePullSecrets: [{ name: "s" }, { name: "s" }],
      },
      {
        env: [
          { name: "A", value: "1" },
          { name: "A", value: "2" },
        ],
        resources: { limits: { memory: "500m" } },
      },
    ),
  );
  assert.deepEqual(warned, [
    "spec.volumes[0].persistentVolumeClaim: this node cannot mount such a volume; the Pod will not start",
    'spec.imagePullSecrets[1].name: duplicate name "s"',
    'spec.containers[0].resources.limits[memory]: fractional byte value "500m" is invalid, must be an integer',
    'spec.containers[0].resources.requests[memory]: fractional byte value "500m" is invalid, must be an integer',
    'spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply',
  ]);
  assert.deepEqual(podWarnings(pod({ volumes: [image()] })), []);
});
