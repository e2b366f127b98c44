import assert from "node:assert/strict";
import { test } from "node:test";
import { collect, pod, RULES, table, type Row } from "./testing/table.ts";
import { validatePod } from "./validate-spec.ts";

const M = "spec.containers[0].volumeMounts";
const volumes = [{ name: "v", image: { reference: "a:1" } }];
const mounted = (...mounts: object[]): object => ({
  volumeMounts: mounts.map((mount) => ({ name: "v", mountPath: "/v", ...mount })),
});
const row = (title: string, mount: object, ...expected: string[]): Row => [
  title,
  pod({ volumes }, mounted(mount)),
  expected,
];

table([
  row("a mount", {}),
  row("a mount of nothing", { name: "w" }, `${M}[0].name: Not found: "w"`),
  row("a mount without a name", { name: "" }, `${M}[0].name: Required value`, `${M}[0].name: Not found: ""`),
  row("a mount nowhere", { mountPath: "" }, `${M}[0].mountPath: Required value`),
  row("a mount at a relative path", { mountPath: "a/../b" }),
  ["one path twice", pod({ volumes }, mounted({}, {})), [`${M}[1].mountPath: Invalid value: "/v": must be unique`]],
  [
    "no path twice",
    pod({ volumes }, mounted({ mountPath: "" }, { mountPath: "" })),
    [
      `${M}[0].mountPath: Required value`,
      `${M}[1].mountPath: Required value`,
      `${M}[1].mountPath: Invalid value: "": must be unique`,
    ],
  ],
  row("a subPath", { subPath: "a/b..c" }),
  row(
    "a subPath that is absolute and steps back",
    { subPath: "/a/.." },
    `${M}.subPath: Invalid value: "/a/..": must be a relative path`,
    `${M}.subPath: Invalid value: "/a/..": must not contain '..'`,
  ),
  row(
    "a subPathExpr beside a subPath, each wrong",
    { subPath: "..", subPathExpr: "/$(A)" },
    `${M}.subPath: Invalid value: "..": must not contain '..'`,
    `${M}[0].subPathExpr: Invalid value: "/$(A)": subPathExpr and subPath are mutually exclusive`,
    `${M}.subPathExpr: Invalid value: "/$(A)": must be a relative path`,
  ),
  row("propagation from the host", { mountPropagation: "HostToContainer" }),
  row(
    "propagation to the host",
    { mountPropagation: "Bidirectional" },
    `${M}.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers`,
  ),
  [
    "propagation to the host, privileged",
    pod({ volumes }, { ...mounted({ mountPropagation: "Bidirectional" }), securityContext: { privileged: true } }),
    [],
  ],
  row("recursively read-only", { recursiveReadOnly: "Enabled", readOnly: true }),
  row("not recursively", { recursiveReadOnly: "Disabled", mountPropagation: "HostToContainer" }),
  row(
    "recursively, but writable and propagated",
    { recursiveReadOnly: "IfPossible", mountPropagation: "HostToContainer" },
    `${M}.recursiveReadOnly: Forbidden: may only be specified when readOnly is true`,
    `${M}.recursiveReadOnly: Forbidden: may only be specified when mountPropagation is None or not specified`,
  ),
  row(
    "recursively in a way that is none",
    { recursiveReadOnly: "" },
    `${M}.recursiveReadOnly: Unsupported value: "": supported values: "Disabled", "Enabled", "IfPossible"`,
  ),
  [
    "an image as a block device",
    pod(
      { volumes },
      {
        ...mounted({}),
        volumeDevices: [
          { name: "v", devicePath: "/v" },
          { name: "x", devicePath: "a/.." },
        ],
      },
    ),
    [
      `${M}[0].name: Invalid value: "v": must not already exist in volumeDevices`,
      `${M}[0].mountPath: Invalid value: "/v": must not already exist as a path in volumeDevices`,
      'spec.containers[0].volumeDevices[0].name: Invalid value: "v": can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode',
      'spec.containers[0].volumeDevices[0].name: Invalid value: "v": must not already exist in volumeMounts',
      'spec.containers[0].volumeDevices[0].devicePath: Invalid value: "/v": must not already exist as a path in volumeMounts',
      'spec.containers[0].volumeDevices[1].name: Not found: "x"',
      "spec.containers[0].volumeDevices[1].devicePath: Invalid value: \"a/..\": can not contain backsteps ('..')",
    ],
  ],
  [
    "mounts of init containers and of those beside",
    pod({
      volumes: [],
      initContainers: [{ name: "i", image: "b", restartPolicy: "Always", ...mounted({}) }],
      ephemeralContainers: [{ name: "e", image: "b", ...mounted({ subPath: "a" }) }],
    }),
    [
      'spec.initContainers[0].volumeMounts[0].name: Not found: "v"',
      'spec.ephemeralContainers[0].volumeMounts[0].name: Not found: "v"',
      "spec.ephemeralContainers[0].volumeMounts[0].subPath: Forbidden: cannot be set for an Ephemeral Container",
      "spec.ephemeralContainers: Forbidden: cannot be set on create",
    ],
  ],
]);

test("1.31 has no subPath of images", () => {
  const rules = { ...RULES, imageSubPath: false };
  const found = collect((errors) => validatePod(pod({ volumes }, mounted({ subPath: "a" })), rules, errors));
  assert.deepEqual(found, [`${M}[0].subPath: Invalid value: "a": not allowed in image volume sources`]);
});
