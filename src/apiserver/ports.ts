import type { CallOptions, Log } from "#base";
import type { KubeObject } from "#k8s";
import type { Route, User } from "./router.ts";

/** What handlers outside the storage may ask of the server. */
export interface ApiHost {
  /**
   * One object of a core resource by its plural (`pods`, `nodes`, `serviceaccounts`, `secrets`).
   * `namespace` is "" for what has none. Throws the StatusError of a missing object.
   */
  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the resource it names tells the caller the kind
  get<T extends KubeObject>(resource: string, namespace: string, name: string): T;
  readonly log: Log;
}

/** What a service-account token is asked to say (authentication.k8s.io/v1 TokenRequest). */
export interface TokenClaims {
  readonly namespace: string;
  readonly serviceAccount: { readonly name: string; readonly uid: string };
  /** Empty means the server's own audience. */
  readonly audiences: readonly string[];
  readonly expirationSeconds: number;
  /** The Pod, Secret or Node the token dies with. */
  readonly boundTo?: { readonly kind: string; readonly name: string; readonly uid: string };
  /** The node of the bound Pod. */
  readonly node?: { readonly name: string; readonly uid: string };
}

export interface SignedToken {
  readonly token: string;
  readonly audiences: readonly string[];
  readonly expiresAt: Date;
}

/** Whom a good token names, and for whom it is meant. */
export interface VerifiedToken {
  readonly user: User;
  readonly audiences: readonly string[];
}

/** Signs and checks service-account tokens. */
export interface Tokens {
  /** What a token for this server names. */
  readonly audiences: readonly string[];
  issue(claims: TokenClaims, call?: CallOptions): Promise<SignedToken>;
  /**
   * What a token says, whoever it is meant for; undefined for one that is not ours, has expired, or whose account or bound
   * object is gone (asked of `host`).
   */
  verify(token: string, host: ApiHost, call?: CallOptions): Promise<VerifiedToken | undefined>;
  /** The pages by which others check them: `/openid/v1/jwks` and `/.well-known/openid-configuration`. */
  readonly routes?: readonly Route[];
}
