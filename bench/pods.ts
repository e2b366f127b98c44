// From `kubectl apply` to Ready, as a person waits for it; fifty Pods on one image volume; and what the node costs at rest.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createWorld, orlop, pushObjects, ran, startUp, until, ARTIFACT, type Up } from "../test/support/orlop.ts";
import { row, type Bench, type Row } from "./report.ts";

const EXAMPLE = join(import.meta.dirname, "../examples/pod.yaml");
const RUNS = 5;
const PODS = 50;

export const bench: Bench = async (say, keep) => {
  await using world = await createWorld();
  pushObjects(world);
  const rows: Row[] = [];
  await using up = await startUp(world);

  const cold: number[] = [];
  const warm: number[] = [];
  for (let i = 0; i < RUNS; i++) {
    // Gone from the store, the object is fetched, merged, encoded and mounted anew; the container images stay.
    orlop("rm", ...world.places(), ARTIFACT);
    orlop("prune", ...world.places());
    cold.push(await applyToReady(up));
    warm.push(await applyToReady(up));
    say(`apply to Ready: ${cold.at(-1)?.toFixed(2)} s cold, ${warm.at(-1)?.toFixed(2)} s with everything present`);
  }
  rows.push(row("kubectl apply to Ready, volume not present", "orlop", "s", cold, "≤ 1.0 s"));
  rows.push(row("kubectl apply to Ready, everything present", "orlop", "s", warm, "≤ 0.5 s"));

  const example = readFileSync(EXAMPLE, "utf8");
  const many = Array.from({ length: PODS }, (_, i) =>
    example.replace("name: pod\n", `name: pod-${i}\n  labels: {many: "yes"}\n`),
  );
  const file = world.file("many.yaml", many.join("---\n"));
  const started = performance.now();
  ran(["kubectl", "--kubeconfig", up.kubeconfig, "apply", "-f", file]);
  await until(`${PODS} Pods are Ready`, () => readyPods(up) === PODS || undefined, 180);
  const seconds = (performance.now() - started) / 1000;
  say(`${PODS} Pods on one image volume: ${seconds.toFixed(1)} s`);
  rows.push(row(`${PODS} Pods that share one image volume, apply to all Ready`, "orlop", "s", [seconds], "≤ 30 s"));
  const superblocks = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => line.includes(`${world.runDir}/n/mounts/`));
  rows.push(row("EROFS superblocks for them", "orlop", "", [superblocks.length], "1"));
  ran(["kubectl", "--kubeconfig", up.kubeconfig, "delete", "pod", "-l", "many=yes", "--timeout=180s"]);

  await sleep(5000);
  const before = cpuSeconds(up.child.pid ?? 0);
  const window = 30;
  await sleep(window * 1000);
  const share = ((cpuSeconds(up.child.pid ?? 0) - before) / window) * 100;
  const rss = residentMiB(up.child.pid ?? 0);
  say(`at rest: ${share.toFixed(2)} % of a core, ${rss.toFixed(0)} MiB`);
  rows.push(row("processor at rest", "orlop", "% of a core", [share], "< 1 %"));
  rows.push(row("memory at rest", "orlop", "MiB", [rss], "≤ 250 MB"));
  keep(rows);
};

/** Seconds from the start of `kubectl apply` until `kubectl wait` returns; then the Pod is deleted. */
async function applyToReady(up: Up): Promise<number> {
  const started = performance.now();
  up.kubectl("apply", "-f", EXAMPLE);
  const waited = up.kubectl("wait", "--for=condition=Ready", "pod/pod", "--timeout=60s");
  const seconds = (performance.now() - started) / 1000;
  if (waited.code !== 0) throw new Error(waited.err);
  up.kubectl("delete", "pod", "pod", "--timeout=60s");
  await until("the Pod is gone", () => up.kubectl("get", "pod", "pod").code !== 0 || undefined);
  return seconds;
}

function readyPods(up: Up): number {
  const path = "{range .items[*]}{.status.conditions[?(@.type=='Ready')].status}{'\\n'}{end}";
  return up.kubectl("get", "pods", "-l", "many=yes", "-o", `jsonpath=${path}`).out.split("True").length - 1;
}

/** User and system time of a process. proc_pid_stat(5), fields 14 and 15, in ticks of 10 ms. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function residentMiB(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024;
}
