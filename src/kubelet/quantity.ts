import { parseQuantity as parse } from "#k8s";

/** A Kubernetes quantity (`500m`, `64Mi`, `1e3`) as a number of its unit; undefined where it is none. */
export function parseQuantity(quantity: unknown): number | undefined {
  if (typeof quantity !== "string" && typeof quantity !== "number") return undefined;
  try {
    return Number(parse(String(quantity)).nano) / 1e9;
  } catch {
    return undefined;
  }
}
