import { timestamp, type ObjectMeta, type Pod } from "#k8s";
import type { AnyObject, Resource } from "./kinds/resource.ts";
import { DELETES_DEPENDENTS, ORPHANS_DEPENDENTS } from "./meta.ts";
import { conflict } from "./status.ts";

export interface DeleteOptions {
  readonly gracePeriodSeconds?: number;
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
  /** `Foreground`, `Background` or `Orphan`; without it the object's own finalizers say. */
  readonly propagationPolicy?: string;
  readonly dryRun?: boolean;
}

/** What a deletion does to an object: nothing that was not done, or it is marked and held, or goes at once. */
export type Fate = "as it was" | "marked" | "gone";

/** Marks an object as deleted. A Pod on a node gets its grace, and finalizers hold what they guard. */
export function markDeleted(resource: Resource, object: AnyObject, options: DeleteOptions): Fate {
  const { metadata } = object;
  const isNamespace = resource.kind === "Namespace";
  const already = metadata.deletionTimestamp !== undefined;
  if (already && isNamespace) return "as it was";
  const left = metadata.deletionGracePeriodSeconds ?? 0;
  const graceful = resource.kind === "Pod" && (!already || left > 0);
  const asked = options.gracePeriodSeconds;
  const sooner = asked !== undefined && Math.max(asked, -1) < left;
  // What ends already may end sooner, but not otherwise.
  if (graceful && already && !sooner) return "as it was";
  const grace = graceful ? podGrace(object as Pod, asked) : 0;
  metadata.finalizers = deletionFinalizers(resource, metadata.finalizers ?? [], options.propagationPolicy);
  const held = metadata.finalizers.length > 0 || isNamespace;
  if (graceful || (held && !already)) {
    const until = deadline(metadata, grace);
    metadata.deletionTimestamp = timestamp(until.at);
    metadata.deletionGracePeriodSeconds = until.grace;
    if (!already && resource.generations) metadata.generation = (metadata.generation ?? 0) + 1;
  }
  if (isNamespace) {
    delete metadata.deletionGracePeriodSeconds;
    object["status"] = { ...(object["status"] as object), phase: "Terminating" };
  }
  return grace === 0 && !held ? "gone" : "marked";
}

/** Marked for deletion, its grace over and no finalizer left: the update that made it so deletes it. */
export function isReleased({ metadata }: AnyObject): boolean {
  return (
    metadata.deletionTimestamp !== undefined &&
    (metadata.finalizers ?? []).length === 0 &&
    (metadata.deletionGracePeriodSeconds ?? 1) === 0
  );
}

/** Throws 409 where the object is not the one that was to be deleted. */
export function checkPreconditions(
  resource: Resource,
  name: string,
  meta: ObjectMeta,
  preconditions: DeleteOptions["preconditions"],
): void {
  const of = { group: resource.group, resource: resource.kind };
  const { uid, resourceVersion } = preconditions ?? {};
  if (uid !== undefined && uid !== meta.uid)
    throw conflict(
      of,
      name,
      `the UID in the precondition (${uid}) does not match the UID in record (${meta.uid}). The object might have been deleted and then recreated`,
    );
  if (resourceVersion !== undefined && resourceVersion !== meta.resourceVersion)
    throw conflict(
      of,
      name,
      `the ResourceVersion in the precondition (${resourceVersion}) does not match the ResourceVersion in record (${meta.resourceVersion}). The object might have been modified`,
    );
}

/** When an object's grace ends. A shorter one counts from the first request, but never ends in the past. */
function deadline(meta: ObjectMeta, grace: number): { at: Date; grace: number } {
  const now = Date.now();
  if (meta.deletionTimestamp === undefined) return { at: new Date(now + grace * 1000), grace };
  const from = Date.parse(meta.deletionTimestamp) - (meta.deletionGracePeriodSeconds ?? 0) * 1000;
  const at = from + grace * 1000;
  return at < now ? { at: new Date(now), grace: Math.min(grace, 1) } : { at: new Date(at), grace };
}

/** The finalizers of an object that is deleted: the policy asked for wins over what the object has. */
function deletionFinalizers(resource: Resource, before: readonly string[], policy: string | undefined): string[] {
  const ours = [ORPHANS_DEPENDENTS, DELETES_DEPENDENTS];
  const others = before.filter((finalizer) => !ours.includes(finalizer));
  if (resource.storedAs === "events") return others;
  const own = before.find((finalizer) => ours.includes(finalizer));
  const asked = { Orphan: ORPHANS_DEPENDENTS, Foreground: DELETES_DEPENDENTS, Background: undefined };
  const wanted = policy === undefined ? own : asked[policy as keyof typeof asked];
  if (wanted === own) return [...before];
  return wanted === undefined ? others : [...others, wanted];
}

/** The seconds a Pod has to end: none where no kubelet has it, or where it has ended already. */
function podGrace(pod: Pod, asked: number | undefined): number {
  if (!pod.spec?.nodeName || pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed") return 0;
  const grace = asked ?? pod.spec.terminationGracePeriodSeconds ?? 30;
  return grace < 0 ? 1 : grace;
}
