import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  randomBytes,
  randomUUID,
  sign,
  verify,
  type KeyObject,
} from "node:crypto";
import { link, mkdir, open, readFile, unlink } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { errnoOf, Failure, messageOf } from "#base";
import type { KubeObject } from "#k8s";
import type { ApiHost, SignedToken, TokenClaims, Tokens } from "./ports.ts";
import type { Route, User } from "./router.ts";
import { StatusError } from "./status.ts";

export interface TokenOptions {
  /** Where the signing key is kept; made there if there is none. */
  readonly directory: string;
  /** Who signs (`iss`), and the audience of those that ask for none. */
  readonly issuer: string;
  /** Audiences that tokens for this server may name; by default the issuer. */
  readonly audiences?: readonly string[];
}

/** Tokens that are signed with one kept key. */
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

const ALGORITHM = "ES256";
const DIGEST = "sha256";
/** JSON web signatures carry the two numbers side by side (RFC 7518 section 3.4). */
const ENCODING = "ieee-p1363";
const MAX_TOKEN = 16 << 10;
/** A token outlives the start of the deletion of what it is bound to by this much, in milliseconds. */
const DELETION_LEEWAY = 60_000;
const EXTRA = "authentication.kubernetes.io/";

/** Opens the signing key of `directory`, and makes it where there is none. */
export async function openTokens({ directory, issuer, audiences = [issuer] }: TokenOptions): Promise<SigningTokens> {
  const key = await signingKey(directory);
  const publicKey = createPublicKey(key);
  const kid = createHash("sha256")
    .update(publicKey.export({ type: "spki", format: "der" }))
    .digest("base64url");
  const header = encode({ alg: ALGORITHM, kid });

  return {
    async issue(claims: TokenClaims, call): Promise<SignedToken> {
      call?.signal?.throwIfAborted();
      const payload = payloadOf(claims, issuer, claims.audiences.length > 0 ? claims.audiences : audiences);
      const text = `${header}.${encode(payload)}`;
      const signature = await promisify(sign)(DIGEST, Buffer.from(text), { key, dsaEncoding: ENCODING });
      return {
        token: `${text}.${signature.toString("base64url")}`,
        audiences: payload.aud,
        expiresAt: new Date(payload.exp * 1000),
      };
    },

    verify(token: string, host: ApiHost): Promise<User | undefined> {
      const payload = checked(token, header, publicKey);
      const now = Date.now() / 1000;
      const good =
        payload !== undefined &&
        payload.iss === issuer &&
        payload.nbf <= now &&
        payload.exp > now &&
        payload.aud.some((one) => audiences.includes(one)) &&
        stillThere(payload, host);
      return Promise.resolve(good ? userOf(payload) : undefined);
    },

    routes: [
      page("/openid/v1/jwks", "application/jwk-set+json", {
        keys: [{ use: "sig", alg: ALGORITHM, kid, ...publicKey.export({ format: "jwk" }) }],
      }),
      page("/.well-known/openid-configuration", "application/json", {
        issuer,
        jwks_uri: `${issuer}/openid/v1/jwks`,
        response_types_supported: ["id_token"],
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: [ALGORITHM],
      }),
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

/** The claims of a token that we have signed; undefined for any other text. */
function checked(token: string, header: string, key: KeyObject): Payload | undefined {
  const parts = token.split(".");
  const [head, body = "", signature = ""] = parts;
  // Only our own header: neither another key nor another algorithm is to be talked into.
  if (token.length > MAX_TOKEN || parts.length !== 3 || head !== header) return undefined;
  const check = { key, dsaEncoding: ENCODING } as const;
  if (!verify(DIGEST, Buffer.from(`${head}.${body}`), check, Buffer.from(signature, "base64url"))) return undefined;
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

function page(path: string, type: string, content: object): Route {
  const body = JSON.stringify(content);
  return {
    methods: ["GET"],
    path,
    handle: (request, response) => {
      response.setHeader("Content-Type", type);
      response.setHeader("Cache-Control", "public, max-age=3600");
      response.end(request.method === "HEAD" ? undefined : body);
    },
  };
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

/** The key of this directory. The first one written stays, whoever else tries. */
async function signingKey(directory: string): Promise<KeyObject> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, "service-account.key");
  const read = async (): Promise<string | undefined> =>
    readFile(path, "utf8").catch((error: unknown) => {
      if (errnoOf(error) === "ENOENT") return undefined;
      throw error;
    });
  let pem = await read();
  if (pem === undefined) {
    const { privateKey } = await promisify(generateKeyPair)("ec", { namedCurve: "P-256" });
    const temporary = `${path}.${randomBytes(6).toString("hex")}`;
    const file = await open(temporary, "wx", 0o600);
    try {
      await file.writeFile(privateKey.export({ type: "pkcs8", format: "pem" }));
      await file.sync();
      await link(temporary, path);
    } catch (error) {
      if (errnoOf(error) !== "EEXIST") throw error;
    } finally {
      await file.close();
      await unlink(temporary);
    }
    pem = await read();
  }
  try {
    const key = createPrivateKey(pem ?? "");
    if (key.asymmetricKeyDetails?.namedCurve !== "prime256v1") throw new Error("it is of another kind");
    return key;
  } catch (error) {
    const message = `${path} does not hold a key (${messageOf(error)}); remove it, and a new one is made`;
    throw new Failure("FAILED_PRECONDITION", "BAD_PKI", message);
  }
}
