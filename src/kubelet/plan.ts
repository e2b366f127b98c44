import type { Pod } from "#k8s";
import { ANNOTATIONS } from "./cri.ts";
import { hashOf } from "./container-config.ts";
import { type AnyContainer, type ContainerEntry, type ContainerKind, entriesOf, isSidecar, specOf } from "./pod.ts";
import { type ContainerView, newestOf, type PodView, readySandbox, type SandboxView } from "./pod-view.ts";
import { restartsAfter, restartsWhenKilled } from "./restart.ts";

/** What probes and hooks found out about a running container. */
export interface Health {
  readonly started: boolean;
  /** A liveness or startup probe failed often enough, or a hook failed: why it must be replaced. */
  readonly killReason?: string | undefined;
  /** The probe's own grace period for that end. Seconds. */
  readonly killGraceSeconds?: number | undefined;
}

export interface Kill {
  readonly container: ContainerView;
  readonly entry: ContainerEntry | undefined;
  readonly message: string;
  /** Where it is not the Pod's. */
  readonly graceSeconds: number | undefined;
}

/** What to do next so that the runtime comes nearer to the Pod's spec. */
export interface Plan {
  readonly sandbox: SandboxView | undefined;
  /** The attempt number of a sandbox to make; everything that runs in older ones is killed before. */
  readonly createSandbox: number | undefined;
  readonly start: readonly ContainerEntry[];
  readonly kill: readonly Kill[];
}

/** Pure: from the spec, the runtime's view and the probes' findings. Back-offs and images are the caller's business. */
export function planPod(pod: Pod, view: PodView, healthOf: (container: ContainerView) => Health): Plan {
  const sandbox = readySandbox(view);
  if (!sandbox) return planWithoutSandbox(pod, view);

  const start: ContainerEntry[] = [];
  const kill: Kill[] = [];
  const entries = entriesOf(pod);
  const of = (kind: ContainerKind): ContainerEntry[] => entries.filter((entry) => entry.kind === kind);
  const here = (name: string): ContainerView | undefined =>
    view.containers.find((container) => container.name === name && container.sandboxId === sandbox.id);

  for (const entry of of("ephemeral")) if (!newestOf(view, entry.container.name)) start.push(entry);
  const appStarted = of("app").some((entry) => here(entry.container.name));
  const initialized = planInit(pod, of("init"), here, healthOf, appStarted, start, kill);
  if (initialized || appStarted) {
    for (const entry of of("app")) planApp(pod, entry, newestOf(view, entry.container.name), healthOf, start, kill);
  }
  return { sandbox, createSandbox: undefined, start, kill };
}

function planWithoutSandbox(pod: Pod, view: PodView): Plan {
  const nothing: Plan = { sandbox: undefined, createSandbox: undefined, start: [], kill: [] };
  const last = view.sandboxes[0];
  const attempt = last ? last.attempt + 1 : 0;
  const spec = specOf(pod);
  const everRan = spec.containers.some(({ name }) => newestOf(view, name));
  const comesNoMore = spec.containers.every((container) => !restartsWhenKilled(pod, container, "app"));
  if (comesNoMore && attempt > 0 && everRan) return nothing;
  const anyLeft = spec.containers.some((container) => {
    const newest = newestOf(view, container.name);
    return !newest || needsRestart(pod, container, "app", newest) || newest.state === "running";
  });
  if (!anyLeft) return nothing;
  return { ...nothing, createSandbox: attempt };
}

/** True when all init containers are through, and sidecars up. */
function planInit(
  pod: Pod,
  entries: readonly ContainerEntry[],
  here: (name: string) => ContainerView | undefined,
  healthOf: (container: ContainerView) => Health,
  appStarted: boolean,
  start: ContainerEntry[],
  kill: Kill[],
): boolean {
  for (const entry of entries) {
    const { container } = entry;
    const current = here(container.name);
    if (isSidecar(container)) {
      const before = start.length + kill.length;
      planApp(pod, entry, current, healthOf, start, kill);
      if (appStarted) continue;
      if (start.length + kill.length > before) return false;
      if (current?.state !== "running" || !healthOf(current).started) return false;
    } else if (appStarted) {
      continue;
    } else if (!current || current.state === "created" || current.state === "unknown") {
      start.push(entry);
      return false;
    } else if (current.state === "running") {
      return false;
    } else if (current.status.exitCode !== 0) {
      if (restartsAfter(pod, container, "init", current.status.exitCode)) start.push(entry);
      return false;
    }
  }
  return true;
}

function planApp(
  pod: Pod,
  entry: ContainerEntry,
  newest: ContainerView | undefined,
  healthOf: (container: ContainerView) => Health,
  start: ContainerEntry[],
  kill: Kill[],
): void {
  const { container, kind } = entry;
  if (!newest) {
    start.push(entry);
    return;
  }
  if (newest.state !== "running") {
    if (needsRestart(pod, container, kind, newest)) start.push(entry);
    return;
  }
  const known = newest.status.annotations[ANNOTATIONS.hash];
  const { killReason, killGraceSeconds } = healthOf(newest);
  const changed = known !== undefined && known !== "" && known !== hashOf(container);
  const why = changed ? `Container ${container.name} definition changed` : killReason;
  if (why === undefined) return;
  const again = changed || restartsWhenKilled(pod, container, kind);
  kill.push({
    container: newest,
    entry,
    message: again ? `${why}, will be restarted` : why,
    graceSeconds: changed ? undefined : killGraceSeconds,
  });
}

/** Whether a container that does not run is to run again. */
function needsRestart(pod: Pod, container: AnyContainer, kind: ContainerKind, newest: ContainerView): boolean {
  if (newest.state === "running") return false;
  return newest.state !== "exited" || restartsAfter(pod, container, kind, newest.status.exitCode);
}
