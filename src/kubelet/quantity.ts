import { canonicalQuantity, parseQuantity as parse } from "#k8s";

/** A Kubernetes quantity (`500m`, `64Mi`, `1e3`) as a number of its unit; undefined where it is none. */
export function parseQuantity(quantity: unknown): number | undefined {
  if (typeof quantity !== "string" && typeof quantity !== "number") return undefined;
  try {
    return Number(parse(String(quantity)).nano) / 1e9;
  } catch {
    return undefined;
  }
}

/** A number of bytes as Kubernetes writes it: `100Mi`, or plain where it is no multiple of 1024. */
export const binary = (bytes: number): string =>
  bytes % 1024 === 0 ? canonicalQuantity(`${bytes / 1024}Ki`) : `${bytes}`;

/** A number of things as Kubernetes writes it: `12`, `5k`. */
export const decimal = (count: number): string => canonicalQuantity(`${count}`);
