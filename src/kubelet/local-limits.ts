import { canonicalQuantity, type Pod } from "#k8s";
import { specOf } from "./pod.ts";
import { podAmounts } from "./pod-resources.ts";
import { binary, parseQuantity } from "./quantity.ts";
import { diskOf, type PodUse } from "./usage.ts";

const STORAGE = "ephemeral-storage";

/** Whether a Pod limits what it writes at all. */
export function limitsDisk(pod: Pod): boolean {
  const spec = specOf(pod);
  return (
    (spec.volumes ?? []).some(({ emptyDir }) => emptyDir?.sizeLimit !== undefined && !emptyDir.medium) ||
    [...spec.containers, ...(spec.initContainers ?? [])].some(({ resources }) => resources?.limits?.[STORAGE])
  );
}

/** Which of its limits a Pod has overrun: an emptyDir's, its own, or a container's. In upstream's words. */
export function overrun(pod: Pod, use: PodUse): string | undefined {
  const spec = specOf(pod);
  for (const { name, emptyDir } of spec.volumes ?? []) {
    const limit = parseQuantity(emptyDir?.sizeLimit) ?? 0;
    if (limit > 0 && (use.volumes.get(name)?.bytes ?? 0) > limit)
      return `Usage of EmptyDir volume ${JSON.stringify(name)} exceeds the limit ${quoted(emptyDir?.sizeLimit)}. `;
  }
  const limit = podAmounts(pod, "limits")[STORAGE];
  if (limit !== undefined && diskOf(use).bytes > limit)
    return `Pod ephemeral local storage usage exceeds the total limit of containers ${totalOf(pod, limit)}. `;
  for (const { name, resources } of spec.containers) {
    const own = use.containers.find((one) => one.name === name);
    const most = parseQuantity(resources?.limits?.[STORAGE]) ?? 0;
    if (own && most > 0 && own.rootfs.bytes + own.logs.bytes > most)
      return `Container ${name} exceeded its local ephemeral storage limit ${quoted(resources?.limits?.[STORAGE])}. `;
  }
  return undefined;
}

const quoted = (quantity: unknown): string => JSON.stringify(canonicalQuantity(String(quantity)));

/** As the one container wrote it, where there is one. */
function totalOf(pod: Pod, limit: number): string {
  const written = [...specOf(pod).containers, ...(specOf(pod).initContainers ?? [])]
    .map(({ resources }) => resources?.limits?.[STORAGE])
    .filter((one) => one !== undefined);
  return written.length === 1 ? canonicalQuantity(String(written[0])) : binary(limit);
}
