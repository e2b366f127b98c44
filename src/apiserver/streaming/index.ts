/** streaming: what of a Pod only its kubelet can answer, found through the Node and passed both ways. */
export { streamingRoutes } from "./routes.ts";
export type { KubeletAccess, KubeletIdentity } from "./kubelet-request.ts";
