/** k8s: Kubernetes objects, quantities, selectors, patches, as values. Pure. */
export type * from "./types.ts";
export { parseYaml } from "./yaml.ts";
