import type { Pod } from "#k8s";
import { entriesOf } from "./pod.ts";
import type { Measured } from "./measure.ts";
import { binary, decimal, parseQuantity } from "./quantity.ts";
import { type Resource, resourceOf, type Threshold } from "./thresholds.ts";
import type { PodUse } from "./usage.ts";

/** Why a Pod is evicted, in upstream's words, the blank at the end included. */
export function shortageMessage(
  resource: Resource,
  pod: Pod,
  use: PodUse | undefined,
  met: readonly Threshold[],
  measured: Measured,
): string {
  const write = resource === "inodes" || resource === "pids" ? decimal : binary;
  const threshold = met.find(({ signal }) => resourceOf(signal) === resource);
  const left = threshold && measured[threshold.signal];
  const parts = [`The node was low on resource: ${resource}. `];
  if (threshold && left)
    parts.push(
      `Threshold quantity: ${write(threshold.quantity(left.capacity))}, available: ${write(left.available)}. `,
    );
  for (const { container } of entriesOf(pod)) {
    const own = use?.containers.find(({ name }) => name === container.name);
    if (!own || (resource !== "memory" && resource !== "ephemeral-storage")) continue;
    const used = resource === "memory" ? own.memoryBytes : own.rootfs.bytes + own.logs.bytes;
    const request = container.resources?.requests?.[resource] ?? "0";
    if (used > (parseQuantity(request) ?? 0))
      parts.push(
        `Container ${container.name} was using ${binary(used)}, request is ${request}, has larger consumption of ${resource}. `,
      );
  }
  return parts.join("");
}
