import { join } from "node:path";
import { silent } from "#base";
import { startKubelet, type KubeletOptions, type RunningKubelet } from "#kubelet";
import type { Pki } from "#wire";

type Given = Pick<KubeletOptions, "api" | "criSocket" | "nodeName"> & Partial<KubeletOptions>;

/** A kubelet of loopback with its files below `dir`, and its certificates of `pki`, whose clients may call it. */
export async function startKubeletIn(dir: string, pki: Pki, given: Given): Promise<RunningKubelet> {
  return startKubelet({
    rootDir: join(dir, "kubelet"),
    podLogsDir: join(dir, "logs"),
    host: "127.0.0.1",
    port: 0,
    nodeIp: "127.0.0.1",
    serverCertificate: await pki.serverCertificate({ dnsNames: ["localhost"], ips: ["127.0.0.1"] }),
    clientCa: pki.ca,
    log: silent,
    ...given,
  });
}
