import assert from "node:assert/strict";
import { test } from "node:test";
import type { Pod } from "#k8s";
import { ageOf, duration } from "./columns.ts";
import { events } from "./event.ts";
import { pods } from "./pod.ts";

const NOW = new Date("2026-01-02T00:00:00Z");

/** READY, STATUS and RESTARTS of a Pod with one container, or with what `more` adds. */
function shown(status: object, more: { spec?: object; metadata?: object } = {}): unknown[] {
  const pod = {
    metadata: { name: "p", creationTimestamp: "2026-01-01T23:00:00Z", ...more.metadata },
    spec: { containers: [{ name: "c" }], ...more.spec },
    status: { phase: "Pending", ...status },
  } as unknown as Pod;
  return pods.cells(pod, NOW).slice(1, 4);
}

const state = (given: object, more: object = {}): object => ({
  name: "c",
  ready: false,
  restartCount: 0,
  state: given,
  ...more,
});
const initialized = { conditions: [{ type: "Initialized", status: "True" }] };
const sidecar = { spec: { initContainers: [{ name: "i", restartPolicy: "Always" }] } };

const cases: readonly [string, unknown[], readonly unknown[]][] = [
  ["nothing yet", shown({}), ["0/1", "Pending", "0"]],
  [
    "waiting",
    shown({ containerStatuses: [state({ waiting: { reason: "ImagePullBackOff" } })] }),
    ["0/1", "ImagePullBackOff", "0"],
  ],
  [
    "running",
    shown({ phase: "Running", containerStatuses: [state({ running: {} }, { ready: true })] }),
    ["1/1", "Running", "0"],
  ],
  [
    "restarted",
    shown({
      phase: "Running",
      containerStatuses: [
        state(
          { running: {} },
          {
            ready: true,
            restartCount: 3,
            lastState: { terminated: { exitCode: 1, finishedAt: "2026-01-01T23:58:00Z" } },
          },
        ),
      ],
    }),
    ["1/1", "Running", "3 (2m ago)"],
  ],
  [
    "exit code",
    shown({ phase: "Failed", containerStatuses: [state({ terminated: { exitCode: 7 } })] }),
    ["0/1", "ExitCode:7", "0"],
  ],
  [
    "signal",
    shown({ phase: "Failed", containerStatuses: [state({ terminated: { exitCode: 137, signal: 9 } })] }),
    ["0/1", "Signal:9", "0"],
  ],
  [
    "completed",
    shown({ phase: "Succeeded", containerStatuses: [state({ terminated: { exitCode: 0, reason: "Completed" } })] }),
    ["0/1", "Completed", "0"],
  ],
  [
    "second of two init containers",
    shown(
      { initContainerStatuses: [state({ terminated: { exitCode: 0 } }), state({ running: {} })] },
      { spec: { initContainers: [{ name: "i" }, { name: "j" }] } },
    ),
    ["0/1", "Init:1/2", "0"],
  ],
  [
    "a failing init container",
    shown(
      { initContainerStatuses: [state({ waiting: { reason: "CrashLoopBackOff" } }, { restartCount: 2 })] },
      { spec: { initContainers: [{ name: "c" }] } },
    ),
    ["0/1", "Init:CrashLoopBackOff", "2"],
  ],
  [
    "a sidecar beside it",
    shown(
      {
        phase: "Running",
        ...initialized,
        initContainerStatuses: [state({ running: {} }, { name: "i", started: true, ready: true })],
        containerStatuses: [state({ running: {} }, { ready: true })],
      },
      sidecar,
    ),
    ["2/2", "Running", "0"],
  ],
  [
    "terminating",
    shown(
      { phase: "Running", containerStatuses: [state({ running: {} }, { ready: true })] },
      { metadata: { deletionTimestamp: "2026-01-01T23:59:00Z" } },
    ),
    ["1/1", "Terminating", "0"],
  ],
  ["evicted", shown({ phase: "Failed", reason: "Evicted" }), ["0/1", "Evicted", "0"]],
  [
    "gated",
    shown({ conditions: [{ type: "PodScheduled", status: "False", reason: "SchedulingGated" }] }),
    ["0/1", "SchedulingGated", "0"],
  ],
];
for (const [name, cells, expected] of cases) test(`a Pod's line: ${name}`, () => assert.deepEqual(cells, expected));

test("ages are written as kubectl writes them", () => {
  const written = {
    0: "0s",
    119: "119s",
    120: "2m",
    125: "2m5s",
    600: "10m",
    10_799: "179m",
    10_800: "3h",
    12_000: "3h20m",
    172_799: "47h",
    172_800: "2d",
    180_000: "2d2h",
    691_200: "8d",
    63_072_000: "2y",
    63_158_400: "2y1d",
  };
  for (const [seconds, text] of Object.entries(written)) assert.equal(duration(Number(seconds)), text, seconds);
  assert.equal(ageOf(undefined, NOW), "<unknown>");
});

test("an event's line names what it is about", () => {
  const event = {
    metadata: { name: "e" },
    involvedObject: { kind: "Pod", name: "p" },
    type: "Normal",
    reason: "Pulled",
    message: "done\n",
    lastTimestamp: "2026-01-01T23:59:30Z",
    source: { component: "kubelet", host: "n1" },
  };
  assert.deepEqual(events.cells(event as never, NOW).slice(0, 7), [
    "30s",
    "Normal",
    "Pulled",
    "pod/p",
    "",
    "kubelet, n1",
    "done",
  ]);
});
