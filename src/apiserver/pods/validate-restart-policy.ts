import type { Container } from "#k8s";
import type { FieldErrors } from "../field-errors.ts";
import { among } from "./rules.ts";

/** Upstream's validateContainerRestartPolicy: when a container of its own accord runs again. */
export function validateRestartPolicy(container: Container, at: string, errors: FieldErrors): void {
  const { restartPolicy, restartPolicyRules: rules = [] } = container;
  if (restartPolicy === undefined) {
    if (rules.length === 0) return;
    errors.required(`${at}.restartPolicy`, "must specify restartPolicy when restart rules are used");
    if (at.includes(".initContainers[")) return;
  }
  among(restartPolicy, ["Always", "Never", "OnFailure"], `${at}.restartPolicy`, errors);
  if (rules.length > 20) errors.tooMany(`${at}.restartPolicyRules`, rules.length, 20);
  for (const [i, { action, exitCodes }] of rules.entries()) {
    const here = `${at}.restartPolicyRules[${i}]`;
    among(action, ["Restart", "RestartAllContainers"], `${here}.action`, errors);
    if (exitCodes === undefined) {
      errors.required(`${here}.exitCodes`, "must be specified");
      continue;
    }
    among(exitCodes.operator, ["In", "NotIn"], `${here}.exitCodes.operator`, errors);
    const values = exitCodes.values ?? [];
    if (values.length > 255) errors.tooMany(`${here}.exitCodes.values`, values.length, 255);
  }
}
