/** cri: a CRI v1 endpoint in front of containerd that adds image volumes and artifacts to it. */
export { startCri, type CriOptions } from "./start-cri.ts";
