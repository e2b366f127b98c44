import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { messageOf, type Log } from "#base";
import type { ApiServerFlags, Places } from "#cli";
import { startApiServer, type ApiServer } from "#apiserver";
import { kubeconfig, openPki, type KubeClientOptions, type Pki } from "#wire";

/** A day: certificates last a year, and are issued anew when a third of that is left. Milliseconds. */
const RENEW_EVERY = 86_400_000;

/** A running API server, and how to reach it as somebody. */
export interface ControlPlane extends AsyncDisposable {
  readonly server: ApiServer;
  readonly pki: Pki;
  /** A client's options with a certificate for that user, which is renewed for as long as the control plane runs. */
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
  const renewals: NodeJS.Timeout[] = [];
  const as = async (commonName: string, organizations: readonly string[]): Promise<KubeClientOptions> => {
    const issue = () => pki.clientCertificate({ commonName, organizations });
    let current = await issue();
    const renew = (): void =>
      void issue().then(
        (next) => (current = next),
        (error: unknown) => log.warn({ user: commonName, error: messageOf(error) }, "certificate not renewed"),
      );
    renewals.push(setInterval(renew, RENEW_EVERY).unref());
    return { server: server.url, ca: pki.ca, ...current, renewed: () => current };
  };
  const { cert, key } = await pki.clientCertificate({ commonName: "orlop-admin", organizations: ["system:masters"] });
  mkdirSync(dirname(flags.kubeconfig), { recursive: true });
  writeFileSync(flags.kubeconfig, kubeconfig({ server: server.url, ca: pki.ca, cert, key, name: "orlop" }), {
    mode: 0o600,
  });
  // The mode above counts for a new file only.
  chmodSync(flags.kubeconfig, 0o600);
  return {
    server,
    pki,
    as,
    async [Symbol.asyncDispose]() {
      for (const renewal of renewals) clearInterval(renewal);
      await server[Symbol.asyncDispose]();
    },
  };
}
