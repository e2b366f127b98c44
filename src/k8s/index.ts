/** k8s: Kubernetes objects, quantities, selectors, patches, as values. Pure. */
export type * from "./types.ts";
export { canonicalTime, decode, timestamp, type Decoded } from "./codec.ts";
export { showIndexed } from "./field-sets.ts";
export { jsonPatch } from "./json-patch.ts";
export { applyFields, recordUpdate, type FieldManager, type ManagedFieldsEntry } from "./managed-fields.ts";
export { isRecord, jsonEqual, mergePatch } from "./merge-patch.ts";
export {
  conditionOf,
  containersOf,
  controllerOf,
  isMirror,
  isTerminal,
  isTerminating,
  keyOf,
  referenceTo,
  withCondition,
  type AnyContainer,
} from "./meta.ts";
export {
  canonicalQuantity,
  formatQuantity,
  parseQuantity,
  quantityMilli,
  quantityValue,
  type Quantity,
} from "./quantity.ts";
export { structOf, target, type Field, type Struct, type Type } from "./schema.ts";
export {
  labelSelectorOf,
  parseFieldSelector,
  parseLabelSelector,
  type FieldRequirement,
  type LabelSelector,
} from "./selectors.ts";
export { strategicMerge } from "./strategic-merge.ts";
export { formatYaml, parseYaml, parseYamlDocuments } from "./yaml.ts";
