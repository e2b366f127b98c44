import { randomBytes } from "node:crypto";
import type { Pod, ServiceAccount } from "#k8s";

/** The ConfigMap of every namespace that holds the certificate of the API server's authority. */
export const ROOT_CA = "kube-root-ca.crt";

const DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount";
const PREFIX = "kube-api-access-";
/** A token is good for an hour, and a little longer than it takes to notice. Seconds. */
const EXPIRATION = 3607;
const LETTERS = "bcdfghjklmnpqrstvwxz2456789";

/**
 * Mounts a token of the Pod's service account, and what else a client in it needs to reach the API server, where clients look
 * for them; not where the Pod or the account says `automountServiceAccountToken: false`, nor over a mount of the Pod's own.
 */
export function mountApiAccess(pod: Pod, account: ServiceAccount | undefined): void {
  const { spec } = pod;
  if (spec === undefined) return;
  spec.serviceAccountName ||= "default";
  spec.serviceAccount = spec.serviceAccountName;
  if ((spec.automountServiceAccountToken ?? account?.automountServiceAccountToken) === false) return;
  const name =
    spec.volumes?.find((volume) => volume.name.startsWith(PREFIX))?.name ??
    `${PREFIX}${[...randomBytes(5)].map((byte) => LETTERS[byte % LETTERS.length]).join("")}`;
  const containers = [...(spec.initContainers ?? []), ...spec.containers].filter(
    ({ volumeMounts = [] }) => !volumeMounts.some(({ mountPath }) => mountPath === DIRECTORY),
  );
  if (containers.length === 0) return;
  for (const container of containers)
    container.volumeMounts = [...(container.volumeMounts ?? []), { name, readOnly: true, mountPath: DIRECTORY }];
  if (spec.volumes?.some((volume) => volume.name === name)) return;
  const namespace = { apiVersion: "v1", fieldPath: "metadata.namespace" };
  spec.volumes = [
    ...(spec.volumes ?? []),
    {
      name,
      projected: {
        defaultMode: 0o644,
        sources: [
          { serviceAccountToken: { expirationSeconds: EXPIRATION, path: "token" } },
          { configMap: { name: ROOT_CA, items: [{ key: "ca.crt", path: "ca.crt" }] } },
          { downwardAPI: { items: [{ path: "namespace", fieldRef: namespace }] } },
        ],
      },
    },
  ];
}
