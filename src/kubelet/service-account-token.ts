import type { KubeObject, Pod } from "#k8s";
import { type KubeClient, kubePath } from "#wire";
import { nameOf, namespaceOf, specOf, uidOf } from "./pod.ts";

export interface TokenRequest {
  readonly audience?: string | undefined;
  /** Of the token's life. */
  readonly expirationSeconds: number;
}

/** Tokens bound to a Pod, kept until a fifth of their life is left. */
export interface TokenSource {
  tokenFor(pod: Pod, request: TokenRequest): Promise<string>;
  forget(podUid: string): void;
}

interface TokenReview extends KubeObject {
  readonly status?: { readonly token?: string; readonly expirationTimestamp?: string };
}

export function createTokenSource(client: KubeClient): TokenSource {
  const tokens = new Map<string, { readonly token: string; readonly renewAt: number }>();
  return {
    async tokenFor(pod, { audience, expirationSeconds }) {
      const key = `${uidOf(pod)}/${audience ?? ""}/${expirationSeconds}`;
      const known = tokens.get(key);
      if (known && Date.now() < known.renewAt) return known.token;
      const name = specOf(pod).serviceAccountName || "default";
      const path = kubePath("v1", "serviceaccounts", { namespace: namespaceOf(pod), name, subresource: "token" });
      const { status } = await client.create<TokenReview>(path, {
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenRequest",
        spec: {
          ...(audience === undefined ? {} : { audiences: [audience] }),
          expirationSeconds,
          boundObjectRef: { apiVersion: "v1", kind: "Pod", name: nameOf(pod), uid: uidOf(pod) },
        },
      });
      const expires = status?.expirationTimestamp
        ? Date.parse(status.expirationTimestamp)
        : Date.now() + expirationSeconds * 1000;
      const token = status?.token ?? "";
      tokens.set(key, { token, renewAt: expires - (expires - Date.now()) / 5 });
      return token;
    },
    forget(podUid) {
      for (const key of tokens.keys()) if (key.startsWith(`${podUid}/`)) tokens.delete(key);
    },
  };
}
