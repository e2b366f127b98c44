/** k8s: Kubernetes objects, quantities, selectors, patches, as values. Pure. */
export type * from "./types.ts";
export { decode, timestamp, type Decoded } from "./codec.ts";
export { GO_MAP, goSyntaxError, goTypeError } from "./go-json.ts";
export { goValue } from "./go-values.ts";
export { jsonPatch } from "./json-patch.ts";
export { applyFields, noteLastApplied } from "./apply-fields.ts";
export { recordUpdate, type FieldManager, type ManagedFieldsEntry } from "./managed-fields.ts";
export { isRecord, jsonEqual, mergePatch } from "./merge-patch.ts";
export { containersOf, isTerminating, withCondition, type AnyContainer } from "./meta.ts";
export { aggregateRequests, podTotals, qosClass } from "./pod-resources.ts";
export {
  canonicalQuantity,
  formatQuantity,
  parseQuantity,
  quantityMilli,
  quantityValue,
  type Quantity,
} from "./quantity.ts";
export { whyNotRestored } from "./restore.ts";
export { structOf, target, type Field, type Struct, type Type } from "./schema.ts";
export { parseFieldSelector, parseLabelSelector, type FieldRequirement, type LabelSelector } from "./selectors.ts";
export { strategicMerge } from "./strategic-merge.ts";
export { tolerates, type Taint } from "./taints.ts";
export { typeErrors } from "./typed.ts";
export { formatYaml, goYamlDuplicates, goYamlError, parseYaml } from "./yaml.ts";
