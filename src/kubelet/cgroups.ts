import { existsSync } from "node:fs";
import { readdir, rmdir } from "node:fs/promises";
import { join } from "node:path";
import type { Pod } from "#k8s";
import { uidOf } from "./pod.ts";

/** Where the containers of a Pod live in the cgroup trees. The runtime makes the groups; what is left empty is removed here. */
export interface Cgroups {
  parentOf(pod: Pod): string;
  /** Removes the Pod's groups from every hierarchy, v1, v2 or both. Missing is a success. */
  remove(podUid: string): Promise<void>;
}

/** @param root `/orlop-<node>`, or with the systemd driver `orlop-<node>.slice` */
export function createCgroups(root: string, driver: "cgroupfs" | "systemd", mountPoint = "/sys/fs/cgroup"): Cgroups {
  const pathOf = (uid: string): string => {
    if (driver === "cgroupfs") return join("/", root, `pod${uid}`);
    // A dash in a slice's name is a level of the hierarchy.
    return `${root.replace(/^\/|\.slice$/g, "").replaceAll("-", "_")}-pod${uid.replaceAll("-", "_")}.slice`;
  };
  const hierarchies = async (): Promise<string[]> => {
    if (existsSync(join(mountPoint, "cgroup.controllers"))) return [mountPoint];
    const names = await readdir(mountPoint, { withFileTypes: true }).catch(() => []);
    return names.filter((entry) => entry.isDirectory()).map(({ name }) => join(mountPoint, name));
  };
  return {
    parentOf: (pod) => pathOf(uidOf(pod)),
    async remove(podUid) {
      if (driver === "systemd") return;
      for (const hierarchy of await hierarchies()) {
        await removeTree(join(hierarchy, pathOf(podUid)));
        // Also the node's own group, when this was its last Pod.
        await rmdir(join(hierarchy, root)).catch(() => undefined);
      }
    },
  };
}

/** rmdir(2) from the leaves up: a cgroup's files cannot be deleted, and a group with processes stays. */
async function removeTree(directory: string): Promise<void> {
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => []);
  for (const entry of entries) if (entry.isDirectory()) await removeTree(join(directory, entry.name));
  await rmdir(directory).catch(() => undefined);
}
