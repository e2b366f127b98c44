import { leases, namespaces, nodes } from "./cluster.ts";
import { configMaps, secrets, serviceAccounts } from "./config.ts";
import { events, eventsV1 } from "./event.ts";
import { podTemplates, pods } from "./pod.ts";
import type { Resource } from "./resource.ts";

/** Every resource the server has, by group and name. */
export const RESOURCES: readonly Resource[] = [
  configMaps,
  events,
  namespaces,
  nodes,
  pods,
  podTemplates,
  secrets,
  serviceAccounts,
  leases,
  eventsV1,
];
