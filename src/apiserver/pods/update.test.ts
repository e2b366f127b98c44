import assert from "node:assert/strict";
import { test } from "node:test";
import type { Pod } from "#k8s";
import { collect, pod, RULES, type Loose } from "./testing/table.ts";
import { validateEphemeralUpdate, validatePodUpdate } from "./update.ts";

const MAY_CHANGE =
  "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
const REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution";
const volumes = [{ name: "v", image: { reference: "a:1" } }];
const update = (before: Pod, next: Pod): string[] =>
  collect((errors) => validatePodUpdate(next, before, RULES, errors));

const a = { key: "a", operator: "Exists" };
const b = { key: "b", operator: "Exists" };

test("images, deadlines and tolerations of a Pod change", () => {
  const before = pod({ tolerations: [a], terminationGracePeriodSeconds: -1 });
  const seconds = { ...a, effect: undefined };
  const next = pod(
    { tolerations: [seconds, b], activeDeadlineSeconds: 5, terminationGracePeriodSeconds: 1 },
    { image: "o:1" },
  );
  assert.deepEqual(update(before, next), []);
});

const refused: readonly (readonly [title: string, before: Loose, next: Loose, expected: readonly string[]])[] = [
  [
    "an image volume's reference",
    { volumes },
    { volumes: [{ name: "v", image: { reference: "a:2" } }] },
    [
      `${MAY_CHANGE}\n${[
        "@@ -32,7 +32,7 @@",
        '    "CSI": null,',
        '    "Ephemeral": null,',
        '    "Image": {',
        '-    "Reference": "a:1",',
        '+    "Reference": "a:2",',
        '     "PullPolicy": "IfNotPresent"',
        "    }",
        "   }",
        "",
      ].join("\n")}`,
    ],
  ],
  [
    "the network of the host",
    {},
    { hostNetwork: true },
    [
      `${MAY_CHANGE}\n${[
        "@@ -44,7 +44,7 @@",
        '  "AutomountServiceAccountToken": null,',
        '  "NodeName": "",',
        '  "SecurityContext": {',
        '-  "HostNetwork": false,',
        '+  "HostNetwork": true,',
        '   "HostPID": false,',
        '   "HostIPC": false,',
        '   "ShareProcessNamespace": null,',
        "",
      ].join("\n")}`,
    ],
  ],
  [
    "one container more",
    {},
    {
      containers: [
        { name: "c", image: "b:1" },
        { name: "d", image: "b:1" },
      ],
    },
    ["spec.containers: Forbidden: pod updates may not add or remove containers"],
  ],
  [
    "no image any more",
    {},
    { containers: [{ name: "c", image: "" }] },
    ["spec.containers[0].image: Required value", "spec.containers[0].image: Required value"],
  ],
  [
    "an image with blanks",
    {},
    { containers: [{ name: "c", image: " b" }] },
    Array<string>(2).fill(
      'spec.containers[0].image: Invalid value: " b": must not have leading or trailing whitespace',
    ),
  ],
  [
    "a later deadline",
    { activeDeadlineSeconds: 5 },
    { activeDeadlineSeconds: 6 },
    ["spec.activeDeadlineSeconds: Invalid value: 6: must be less than or equal to previous value"],
  ],
  [
    "no deadline any more",
    { activeDeadlineSeconds: 5 },
    {},
    ["spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value"],
  ],
  [
    "one toleration less",
    { tolerations: [a, b] },
    { tolerations: [b] },
    ["spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"],
  ],
  [
    "one gate more",
    { schedulingGates: [{ name: "a" }] },
    { schedulingGates: [{ name: "b" }] },
    ["spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'b'"],
  ],
  [
    "fewer labels of nodes while it waits",
    { schedulingGates: [{ name: "a" }], nodeSelector: { a: "b" } },
    { schedulingGates: [{ name: "a" }], nodeSelector: { c: "d" } },
    [
      'spec.nodeSelector: Invalid value: {"c":"d"}: only additions to spec.nodeSelector are allowed (no mutations or deletions)',
    ],
  ],
  [
    "other nodes while it waits",
    {
      schedulingGates: [{ name: "a" }],
      affinity: {
        nodeAffinity: { [REQUIRED]: { nodeSelectorTerms: [{ matchExpressions: [{ key: "a", operator: "Exists" }] }] } },
      },
    },
    {
      schedulingGates: [{ name: "a" }],
      affinity: {
        nodeAffinity: { [REQUIRED]: { nodeSelectorTerms: [{ matchExpressions: [{ key: "b", operator: "Exists" }] }] } },
      },
    },
    [
      `spec.affinity.nodeAffinity.${REQUIRED}.nodeSelectorTerms[0]: Invalid value: {"MatchExpressions":[{"Key":"b","Operator":"Exists","Values":null}],"MatchFields":null}: only additions are allowed (no mutations or deletions)`,
    ],
  ],
];
for (const [title, before, next, expected] of refused)
  test(`an update is refused: ${title}`, () => assert.deepEqual(update(pod(before), pod(next)), expected));

test("while it waits, a Pod may narrow where it goes", () => {
  const schedulingGates = [{ name: "a" }];
  const terms = (...keys: string[]): object => ({
    nodeAffinity: {
      [REQUIRED]: { nodeSelectorTerms: [{ matchExpressions: keys.map((key) => ({ key, operator: "Exists" })) }] },
    },
  });
  const before = pod({ schedulingGates, affinity: terms("a") });
  assert.deepEqual(update(before, pod({ nodeSelector: { a: "b" }, affinity: terms("a", "b") })), []);
  assert.deepEqual(update(pod({ schedulingGates }), pod({ schedulingGates, affinity: terms("a") })), []);
});

test("annotations that say what a Pod is stay", () => {
  const of = (annotations: object): Pod => pod({ nodeName: "n" }, {}, { annotations });
  const mirror = { "kubernetes.io/config.mirror": "x" };
  assert.deepEqual(update(of({}), of(mirror)), [
    "metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not add mirror pod annotation",
  ]);
  assert.deepEqual(update(of(mirror), of({})), [
    "metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not remove or update mirror pod annotation",
  ]);
});

test("ephemeral containers are added, never changed or taken away", () => {
  const of = (...images: string[]): Pod =>
    pod({ ephemeralContainers: images.map((image, i) => ({ name: `e${i}`, image })) });
  const change = (before: Pod, next: Pod): string[] =>
    collect((errors) => validateEphemeralUpdate(next, before, RULES, errors));
  assert.deepEqual(change(of("a:1"), of("a:1", "b:1")), []);
  assert.deepEqual(change(of("a:1"), of()), [
    'spec.ephemeralContainers: Forbidden: existing ephemeral containers "e0" may not be removed\n',
  ]);
  assert.match(
    change(of("a:1"), of("a:2"))[0] ?? "",
    /^spec\.ephemeralContainers: Forbidden: existing ephemeral containers "e0" may not be changed\n@@ -1,6 \+1,6 @@\n \{\n {2}"Name": "e0",\n- "Image": "a:1",\n\+ "Image": "a:2",\n/,
  );
  const mirror = pod({ nodeName: "n" }, {}, { annotations: { "kubernetes.io/config.mirror": "x" } });
  assert.deepEqual(change(mirror, mirror), [": Forbidden: static pods do not support ephemeral containers"]);
});
