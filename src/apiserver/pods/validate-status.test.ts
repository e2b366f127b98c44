import assert from "node:assert/strict";
import { test } from "node:test";
import type { Pod } from "#k8s";
import { keepGenerations } from "./prepare.ts";
import { collect, pod, type Loose } from "./testing/table.ts";
import { validateStatusUpdate } from "./validate-status.ts";

const ended = (exitCode = 1): object => ({ name: "c", state: { terminated: { exitCode } } });
const waiting = { name: "c", state: { waiting: {} } };

function update(before: object, next: object, spec: Loose = {}, container: object = {}): string[] {
  const of = (status: object): Pod => ({ ...pod(spec, container), status: { qosClass: "BestEffort", ...status } });
  return collect((errors) => validateStatusUpdate(of(next), of(before), errors));
}

const STATE = "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state";
const transitions: readonly (readonly [
  title: string,
  exitCode: number,
  spec: Loose,
  container: object,
  ok: boolean,
])[] = [
  ["a Pod that always restarts", 0, {}, {}, true],
  ["a Pod that never does", 1, { restartPolicy: "Never" }, {}, false],
  ["a Pod that does on failure, which it was", 1, { restartPolicy: "OnFailure" }, {}, true],
  ["a Pod that does on failure, which it was not", 0, { restartPolicy: "OnFailure" }, {}, false],
  ["a container of its own mind", 1, { restartPolicy: "Never" }, { restartPolicy: "OnFailure" }, true],
  [
    "a container that restarts at this code",
    42,
    { restartPolicy: "Never" },
    {
      restartPolicy: "Never",
      restartPolicyRules: [{ action: "Restart", exitCodes: { operator: "In", values: [42] } }],
    },
    true,
  ],
  [
    "a container that restarts at other codes",
    42,
    { restartPolicy: "Never" },
    {
      restartPolicy: "Never",
      restartPolicyRules: [{ action: "Restart", exitCodes: { operator: "NotIn", values: [42] } }],
    },
    false,
  ],
  ["a container that nobody knows", 1, { containers: [{ name: "other", image: "b" }] }, {}, false],
];
for (const [title, exitCode, spec, container, ok] of transitions)
  test(`from terminated to waiting: ${title}`, () => {
    const found = update({ containerStatuses: [ended(exitCode)] }, { containerStatuses: [waiting] }, spec, container);
    assert.deepEqual(found, ok ? [] : [STATE]);
  });

test("an ephemeral container never runs again", () => {
  assert.deepEqual(update({ ephemeralContainerStatuses: [ended()] }, { ephemeralContainerStatuses: [waiting] }), [
    "status.ephemeralContainerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state",
  ]);
});

test("what a status may not say", () => {
  const status = {
    qosClass: "Burstable",
    observedGeneration: -1,
    nominatedNodeName: "n",
    conditions: [{ type: "Ready" }, { type: "", observedGeneration: -1 }],
    podIPs: [{ ip: "1.2.3.4" }, { ip: "x" }, { ip: "1.2.3.5" }],
    hostIPs: [{ ip: "1.2.3.4" }],
    containerStatuses: [
      {
        name: "c",
        user: { linux: { uid: -1, gid: 0, supplementalGroups: [-2] } },
        volumeMounts: [{ volumeStatus: { image: { imageRef: "" } } }],
      },
    ],
  };
  const found = update({ podIPs: [{ ip: "x" }] }, status, { nodeName: "n" });
  assert.deepEqual(
    found.map((line) => line.replace(/name part must consist.*/, "…")),
    [
      "status.conditions[1].observedGeneration: Invalid value: -1: must be a non-negative integer",
      'status.conditions[1].Type: Invalid value: "": name part must be non-empty',
      'status.conditions[1].Type: Invalid value: "": …',
      "status.nominatedNodeName: Forbidden: may not be set on pods that are already bound to a node",
      "status.observedGeneration: Invalid value: -1: must be a non-negative integer",
      'status.qosClass: Invalid value: "Burstable": field is immutable',
      'status.podIPs: Invalid value: [{"IP":"1.2.3.4"},{"IP":"x"},{"IP":"1.2.3.5"}]: may specify no more than one IP for each IP family',
      'status.hostIPs[0].ip: Invalid value: "1.2.3.4": must be equal to `hostIP`',
      "status.containerStatuses[0].user.linux.uid: Invalid value: -1: must be between 0 and 2147483647, inclusive",
      "status.containerStatuses[0].user.linux.supplementalGroups[0]: Invalid value: -2: must be between 0 and 2147483647, inclusive",
      "status.containerStatuses[0].volumeMounts[0].volumeStatus.imageVolumeStatus.imageRef: Required value: imageRef must not be empty",
    ],
  );
});

test("generations that were observed stay, where a client does not say", () => {
  const status = {
    conditions: [
      { type: "A", status: "True" },
      { type: "B", status: "True", observedGeneration: 4 },
    ],
  };
  keepGenerations(status, {
    observedGeneration: 3,
    conditions: [
      { type: "A", status: "False", observedGeneration: 2 },
      { type: "B", status: "False", observedGeneration: 2 },
    ],
  });
  assert.deepEqual(status, {
    observedGeneration: 3,
    conditions: [
      { type: "A", status: "True", observedGeneration: 2 },
      { type: "B", status: "True", observedGeneration: 4 },
    ],
  });
});
