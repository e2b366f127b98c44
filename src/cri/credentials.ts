import type { Credentials } from "#oci";
import type { cri } from "#wire";

/** What a kubelet sends with a pull. Nothing, or nothing that can be used, means the host's own credential files. */
export function credentialsOf(auth: cri.AuthConfig | undefined): readonly Credentials[] {
  if (!auth) return [];
  if (auth.registryToken !== "") return [{ registryToken: auth.registryToken }];
  if (auth.identityToken !== "") return [{ identityToken: auth.identityToken }];
  if (auth.username !== "") return [{ username: auth.username, password: auth.password }];
  const text = Buffer.from(auth.auth, "base64").toString("utf8");
  const colon = text.indexOf(":");
  if (colon <= 0) return [];
  // Docker pads what it encodes with zero bytes.
  return [{ username: text.slice(0, colon), password: text.slice(colon + 1).replace(/\0+$/, "") }];
}
