import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Log } from "#base";
import type { ApiServerFlags, Places } from "#cli";
import { startApiServer, type ApiServer } from "#apiserver";
import { kubeconfig, openPki, type KubeClientOptions, type Pki } from "#wire";

/** A running API server, and how to reach it as somebody. */
export interface ControlPlane extends AsyncDisposable {
  readonly server: ApiServer;
  readonly pki: Pki;
  /** A client's options with a certificate for that user. */
  as(commonName: string, organizations: readonly string[]): Promise<KubeClientOptions>;
}

/** Starts the API server and writes the administrator's kubeconfig. */
export async function startControlPlane(
  places: Places,
  flags: ApiServerFlags & { readonly kubeletsAreOurs: boolean },
  log: Log,
): Promise<ControlPlane> {
  const dataDir = join(places.dataDir, "apiserver");
  const pki = await openPki(join(dataDir, "pki"));
  const { host, port, featureGates, admissionPlugins, emulatedVersion } = flags;
  const server = await startApiServer({
    dataDir,
    host,
    port,
    pki,
    ...(flags.kubeletsAreOurs ? { kubeletCa: pki.ca } : {}),
    ...(featureGates === undefined ? {} : { featureGates }),
    ...(admissionPlugins === undefined ? {} : { admissionPlugins }),
    ...(emulatedVersion === undefined ? {} : { emulatedVersion }),
    log,
  });
  const as = async (commonName: string, organizations: readonly string[]): Promise<KubeClientOptions> => {
    const { cert, key } = await pki.clientCertificate({ commonName, organizations });
    return { server: server.url, ca: pki.ca, cert, key };
  };
  const { cert, key } = await pki.clientCertificate({ commonName: "orlop-admin", organizations: ["system:masters"] });
  mkdirSync(dirname(flags.kubeconfig), { recursive: true });
  writeFileSync(flags.kubeconfig, kubeconfig({ server: server.url, ca: pki.ca, cert, key, name: "orlop" }), {
    mode: 0o600,
  });
  // The mode above counts for a new file only.
  chmodSync(flags.kubeconfig, 0o600);
  return { server, pki, as, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}
