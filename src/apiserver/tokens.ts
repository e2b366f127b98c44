import { randomUUID, sign, verify } from "node:crypto";
import { promisify } from "node:util";
import type { KubeObject } from "#k8s";
import type { ApiHost, SignedToken, TokenClaims, Tokens, VerifiedToken } from "./ports.ts";
import type { ApiRequest, Route, User } from "./router.ts";
import { StatusError } from "./status.ts";
import { tokenKeys, type TokenKey } from "./token-keys.ts";

export interface TokenOptions {
  /** Where the keys are, as {@link tokenKeys} has them. */
  readonly directory: string;
  /** Who signs (`iss`), and the audience of those that ask for none. */
  readonly issuer: string;
  /** Audiences that tokens for this server may name; by default the issuer. */
  readonly audiences?: readonly string[];
}

/** Tokens that are signed with the newest of some kept keys. */
export interface SigningTokens extends Tokens {
  readonly routes: readonly Route[];
}

/** What the claims of a token look like: those of Kubernetes' own. */
interface Payload {
  readonly aud: readonly string[];
  readonly exp: number;
  readonly iat: number;
  readonly iss: string;
  readonly jti: string;
  readonly "kubernetes.io": {
    readonly namespace: string;
    readonly node?: Bound;
    readonly pod?: Bound;
    readonly secret?: Bound;
    readonly serviceaccount: Bound;
  };
  readonly nbf: number;
  readonly sub: string;
}
interface Bound {
  readonly name: string;
  readonly uid: string;
}

/** JSON web signatures carry the two numbers side by side (RFC 7518 section 3.4). */
const ENCODING = "ieee-p1363";
const MAX_TOKEN = 16 << 10;
/** A token outlives the start of the deletion of what it is bound to by this much, in milliseconds. */
const DELETION_LEEWAY = 60_000;
const EXTRA = "authentication.kubernetes.io/";

/** Opens the keys of `directory`, and makes one where there is none. Throws Failure `BAD_PKI`. */
export async function openTokens({ directory, issuer, audiences = [issuer] }: TokenOptions): Promise<SigningTokens> {
  const { signing, all } = await tokenKeys(directory);
  const headerOf = ({ algorithm, id }: TokenKey): string => encode({ alg: algorithm, kid: id });
  const header = headerOf(signing);
  const byHeader = new Map(all.map((key) => [headerOf(key), key]));

  return {
    audiences,

    async issue(claims: TokenClaims, call): Promise<SignedToken> {
      call?.signal?.throwIfAborted();
      const payload = payloadOf(claims, issuer, claims.audiences.length > 0 ? claims.audiences : audiences);
      const text = `${header}.${encode(payload)}`;
      const key = { key: signing.privateKey, dsaEncoding: ENCODING } as const;
      const signature = await promisify(sign)(signing.digest, Buffer.from(text), key);
      return {
        token: `${text}.${signature.toString("base64url")}`,
        audiences: payload.aud,
        expiresAt: new Date(payload.exp * 1000),
      };
    },

    verify(token: string, host: ApiHost): Promise<VerifiedToken | undefined> {
      const payload = checked(token, byHeader);
      const now = Date.now() / 1000;
      const good =
        payload !== undefined &&
        payload.iss === issuer &&
        payload.nbf <= now &&
        payload.exp > now &&
        stillThere(payload, host);
      return Promise.resolve(good ? { user: userOf(payload), audiences: payload.aud } : undefined);
    },

    routes: [
      page("/openid/v1/jwks", "application/jwk-set+json", () => ({
        keys: all.map(({ algorithm, id, jwk }) => ({ use: "sig", alg: algorithm, kid: id, ...jwk })),
      })),
      page("/.well-known/openid-configuration", "application/json", (request) => ({
        issuer,
        // At the address by which the client has come here.
        jwks_uri: `${"encrypted" in request.raw.socket ? "https" : "http"}://${request.raw.headers.host ?? ""}/openid/v1/jwks`,
        response_types_supported: ["id_token"],
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: [...new Set(all.map(({ algorithm }) => algorithm))].sort(),
      })),
    ],
  };
}

function payloadOf(claims: TokenClaims, issuer: string, audiences: readonly string[]): Payload {
  const { namespace, serviceAccount, boundTo, node, expirationSeconds } = claims;
  const now = Math.floor(Date.now() / 1000);
  const pick = ({ name, uid }: Bound): Bound => ({ name, uid });
  const kind = boundTo?.kind.toLowerCase();
  const nodeRef = kind === "node" ? boundTo : node;
  return {
    aud: audiences,
    exp: now + expirationSeconds,
    iat: now,
    iss: issuer,
    jti: randomUUID(),
    "kubernetes.io": {
      namespace,
      ...(nodeRef === undefined ? {} : { node: pick(nodeRef) }),
      ...(boundTo !== undefined && kind === "pod" ? { pod: pick(boundTo) } : {}),
      ...(boundTo !== undefined && kind === "secret" ? { secret: pick(boundTo) } : {}),
      serviceaccount: pick(serviceAccount),
    },
    nbf: now,
    sub: `system:serviceaccount:${namespace}:${serviceAccount.name}`,
  };
}

/** The claims of a token that one of our keys has signed; undefined for any other text. */
function checked(token: string, byHeader: ReadonlyMap<string, TokenKey>): Payload | undefined {
  const parts = token.split(".");
  const [head = "", body = "", signature = ""] = parts;
  // Only our own headers: neither another key nor another algorithm is to be talked into.
  const key = byHeader.get(head);
  if (token.length > MAX_TOKEN || parts.length !== 3 || key === undefined) return undefined;
  const check = { key: key.publicKey, dsaEncoding: ENCODING } as const;
  if (!verify(key.digest, Buffer.from(`${head}.${body}`), check, Buffer.from(signature, "base64url"))) return undefined;
  try {
    return JSON.parse(Buffer.from(body, "base64url").toString("utf8")) as Payload;
  } catch {
    return undefined;
  }
}

/** Whether the account and what the token is bound to are still the ones it was made for. */
function stillThere({ "kubernetes.io": claims }: Payload, host: ApiHost): boolean {
  const { namespace, serviceaccount, pod, secret, node } = claims;
  const same = (resource: string, space: string, one: Bound | undefined): boolean => {
    if (one === undefined) return true;
    try {
      const { metadata } = host.get<KubeObject>(resource, space, one.name);
      const leaving = metadata?.deletionTimestamp;
      return metadata?.uid === one.uid && (leaving === undefined || Date.parse(leaving) + DELETION_LEEWAY > Date.now());
    } catch (error) {
      if (error instanceof StatusError && error.body.code === 404) return false;
      throw error;
    }
  };
  return (
    same("serviceaccounts", namespace, serviceaccount) &&
    same("pods", namespace, pod) &&
    same("secrets", namespace, secret) &&
    // The node of a Pod is said, not asked for: the Pod is what the token is bound to.
    (pod !== undefined || same("nodes", "", node))
  );
}

function userOf({ sub, jti, "kubernetes.io": claims }: Payload): User {
  const { namespace, serviceaccount, pod, node } = claims;
  return {
    name: sub,
    uid: serviceaccount.uid,
    groups: ["system:serviceaccounts", `system:serviceaccounts:${namespace}`, "system:authenticated"],
    extra: {
      [`${EXTRA}credential-id`]: [`JTI=${jti}`],
      ...(node === undefined ? {} : { [`${EXTRA}node-name`]: [node.name], [`${EXTRA}node-uid`]: [node.uid] }),
      ...(pod === undefined ? {} : { [`${EXTRA}pod-name`]: [pod.name], [`${EXTRA}pod-uid`]: [pod.uid] }),
    },
  };
}

function page(path: string, type: string, content: (request: ApiRequest) => object): Route {
  return {
    methods: ["GET"],
    path,
    handle: (request, response) => {
      response.setHeader("Content-Type", type);
      response.setHeader("Cache-Control", "public, max-age=3600");
      response.end(request.method === "HEAD" ? undefined : JSON.stringify(content(request)));
    },
  };
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}
