import type { Pod } from "#k8s";
import type { FieldErrors } from "../field-errors.ts";
import { validateAnnotations } from "../meta.ts";
import { validateLabels } from "../names.ts";
import { validatePodAnnotations, validateProfilesMatch } from "./annotations.ts";
import type { PodRules } from "./rules.ts";
import { validatePodSpec } from "./validate-spec.ts";

/** Upstream's ValidatePodTemplateSpec. */
export function validateTemplate(template: Pod, field: string, rules: PodRules, errors: FieldErrors): void {
  const { metadata: { labels, annotations = {} } = {}, spec = { containers: [] } } = template;
  validateLabels(labels, `${field}.labels`, errors);
  validateAnnotations(annotations, `${field}.annotations`, errors);
  validatePodAnnotations(annotations, spec, `${field}.annotations`, errors);
  validatePodSpec(spec, undefined, `${field}.spec`, rules, errors);
  validateProfilesMatch(annotations, spec, `${field}.spec`, errors);
  if ((spec.ephemeralContainers ?? []).length > 0)
    errors.forbidden(`${field}.spec.ephemeralContainers`, "ephemeral containers not allowed in pod template");
}
