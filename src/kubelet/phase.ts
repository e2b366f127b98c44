import type { ContainerStatus, Pod } from "#k8s";
import { type AnyContainer, isSidecar, specOf } from "./pod.ts";
import { restartsAfter } from "./restart.ts";

/** A Pod's phase, from the states of its containers. Sidecars count only while they are still to come up: they end with it. */
export function phaseOf(pod: Pod, init: readonly ContainerStatus[], apps: readonly ContainerStatus[]): string {
  const hasInitialized = apps.some(hasRun);
  for (const [i, container] of (specOf(pod).initContainers ?? []).entries()) {
    const { state, lastState, started } = init[i] ?? { state: {} };
    const end = state?.terminated ?? lastState?.terminated;
    if (isSidecar(container)) {
      const isUp = state?.running ? started : end !== undefined;
      if (!isUp && !hasInitialized) return "Pending";
    } else if (state?.terminated?.exitCode !== 0) {
      const isLost = !state?.running && end && !restartsAfter(pod, container, "init", end.exitCode);
      return isLost && end.exitCode !== 0 ? "Failed" : "Pending";
    }
  }
  if (apps.length === 0 || !apps.every(hasRun)) return "Pending";
  if (apps.some(({ state }) => state?.running)) return "Running";
  const exitCodes = apps.map(({ state, lastState }) => (state?.terminated ?? lastState?.terminated)?.exitCode ?? 0);
  const comesAgain = ({ name }: ContainerStatus, i: number): boolean =>
    restartsAfter(pod, containerOf(pod, name), "app", exitCodes[i] ?? 0);
  if (!pod.metadata?.deletionTimestamp && apps.some(comesAgain)) return "Running";
  return exitCodes.every((code) => code === 0) ? "Succeeded" : "Failed";
}

const hasRun = ({ state, lastState }: ContainerStatus): boolean =>
  Boolean(state?.running ?? state?.terminated ?? lastState?.terminated);

const containerOf = (pod: Pod, name: string): AnyContainer =>
  specOf(pod).containers.find((container) => container.name === name) ?? { name };
