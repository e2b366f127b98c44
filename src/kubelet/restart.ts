import type { Pod } from "#k8s";
import { type AnyContainer, type ContainerKind, specOf } from "./pod.ts";

interface RestartRule {
  readonly action?: string;
  readonly exitCodes?: { readonly operator?: string; readonly values?: readonly number[] };
}

/** On the spec of a container: newer than the published types. */
interface WithRules {
  readonly restartPolicyRules?: readonly RestartRule[];
}

export const restartRulesOf = (container: AnyContainer): readonly RestartRule[] =>
  (container as WithRules).restartPolicyRules ?? [];

/** Whether a container that ended so is to run again: as its own rules say, else its own policy, else its Pod's. */
export function restartsAfter(pod: Pod, container: AnyContainer, kind: ContainerKind, exitCode: number): boolean {
  if (kind === "ephemeral") return false;
  if (container.restartPolicy && restartRulesOf(container).some((rule) => matches(rule, exitCode))) return true;
  const policy = policyOf(pod, container);
  // An init container that succeeded is over, unless it is to stay.
  if (kind === "init" && container.restartPolicy !== "Always" && exitCode === 0) return false;
  return policy === "Always" || (policy === "OnFailure" && exitCode !== 0);
}

/** Whether a container that is ended for its own good comes again. Its rules are about how it ends by itself. */
export function restartsWhenKilled(pod: Pod, container: AnyContainer, kind: ContainerKind): boolean {
  return kind !== "ephemeral" && policyOf(pod, container) !== "Never";
}

const policyOf = (pod: Pod, container: AnyContainer): string =>
  container.restartPolicy ?? specOf(pod).restartPolicy ?? "Always";

function matches({ action, exitCodes }: RestartRule, exitCode: number): boolean {
  if (action !== "Restart" || !exitCodes) return false;
  const isListed = exitCodes.values?.includes(exitCode) ?? false;
  return exitCodes.operator === "In" ? isListed : exitCodes.operator === "NotIn" && !isListed;
}
