import { messageOf } from "#base";
import type { Pod } from "#k8s";
import { parseReference } from "#oci";
import type { Kubelet } from "./context.ts";
import { referenceTo } from "./events.ts";
import { type KeyringEntry, keysOfSecret, matchKeys } from "./keyring.ts";
import { namespaceOf, specOf } from "./pod.ts";
import type { PullCredential } from "./pull-records.ts";

/**
 * The logins for one reference of a Pod: its imagePullSecrets' (which admission takes from the service account where the Pod
 * names none), then the node's. A secret that is missing or unreadable is an Event, and the others are tried.
 */
export async function pullCredentials(kubelet: Kubelet, pod: Pod, reference: string): Promise<PullCredential[]> {
  const parsed = parseReference(reference);
  const own: KeyringEntry[] = [];
  const missing: string[] = [];
  for (const { name = "" } of specOf(pod).imagePullSecrets ?? []) {
    try {
      const secret = await kubelet.objects.secret(namespaceOf(pod), name);
      if (secret) own.push(...keysOfSecret(secret));
      else missing.push(name);
    } catch (error) {
      kubelet.log.warn({ secret: name, error: messageOf(error) }, "pull secret not usable");
      missing.push(name);
    }
  }
  if (missing.length > 0) {
    const message = `Unable to retrieve some image pull secrets (${missing.join(", ")}); attempting to pull the image may not succeed.`;
    kubelet.recorder.event(referenceTo(pod), "Warning", "FailedToRetrieveImagePullSecret", message);
  }
  return [...matchKeys(own, parsed), ...(await kubelet.nodeKeys(parsed))];
}
