import type { Pod } from "#k8s";
import { core, forbidden, type StatusError } from "../status.ts";
import { containersWithPaths } from "./rules.ts";

const TOLERATED = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] as const;

/** A Pod bears a node that is lost for five minutes, unless it says otherwise. */
export function tolerateLostNodes({ spec }: Pod): void {
  if (spec === undefined) return;
  for (const key of TOLERATED) {
    const has = (spec.tolerations ?? []).some(
      (t) => (t.key === key || (t.key ?? "") === "") && (t.effect === "NoExecute" || (t.effect ?? "") === ""),
    );
    if (!has)
      spec.tolerations = [
        ...(spec.tolerations ?? []),
        { key, operator: "Exists", effect: "NoExecute", tolerationSeconds: 300 },
      ];
  }
}

const DEFAULT_POLICY = "PreemptLowerPriority";
/** The classes that every cluster has; others there are none here. */
const CLASSES: Readonly<Record<string, number>> = {
  "": 0,
  "system-cluster-critical": 2_000_000_000,
  "system-node-critical": 2_000_001_000,
};

/** The priority of a new Pod is that of its class. Throws 403 for a class that is none, or another priority. */
export function setPriority(pod: Pod): void {
  const { spec } = pod;
  if (spec === undefined) return;
  const refuse = (why: string): StatusError => forbidden(core("pods"), pod.metadata?.name || "Unknown", why);
  const name = spec.priorityClassName ?? "";
  const priority = Object.hasOwn(CLASSES, name) ? CLASSES[name] : undefined;
  if (priority === undefined) throw refuse(`no PriorityClass with name ${name} was found`);
  const given = spec.priority ?? priority;
  if (given !== priority)
    throw refuse(
      `the integer value of priority (${given}) must not be provided in pod spec; priority admission controller computed ${priority} from the given PriorityClass name`,
    );
  const policy = spec.preemptionPolicy ?? DEFAULT_POLICY;
  if (policy !== DEFAULT_POLICY)
    throw refuse(
      `the string value of PreemptionPolicy (${policy}) must not be provided in pod spec; priority admission controller computed ${DEFAULT_POLICY} from the given PriorityClass name`,
    );
  spec.priority = priority;
  spec.preemptionPolicy = policy;
}

/** The AlwaysPullImages admission plugin: every image, of a container or of a volume, is pulled anew. */
export function alwaysPullImages({ spec }: Pod): void {
  if (spec === undefined) return;
  for (const { container } of containersWithPaths(spec, "")) container.imagePullPolicy = "Always";
  for (const volume of spec.volumes ?? []) if (volume.image !== undefined) volume.image.pullPolicy = "Always";
}
