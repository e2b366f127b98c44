/** kubelet: brings the Pods of one node from an API server to a CRI runtime, and tells how they are. */
export type { KubeletConfig } from "./kubelet-config.ts";
export { startKubelet, type KubeletOptions, type RunningKubelet } from "./kubelet.ts";
export type { ApiAddress } from "./services.ts";
