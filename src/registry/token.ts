import { Failure, messageOf } from "#base";
import type { Credentials } from "#oci";
import type { Challenge } from "./challenge.ts";
import { readUpTo } from "./body.ts";
import { plainUrl } from "./network-failure.ts";
import type { WireRequest } from "./transport.ts";
import type { WireResponse } from "./wire-response.ts";

export interface Token {
  readonly value: string;
  /** Shortly before it runs out. Milliseconds since the epoch. */
  readonly staleAt: number;
}

export type Send = (request: WireRequest) => Promise<WireResponse>;

/** What a token lives for when its server does not say. Docker token specification: 60 seconds. */
const LIFETIME = 60;
const ANSWER_LIMIT = 1024 * 1024;

/**
 * Gets a bearer token from the realm of a challenge: GET with Basic for a name and password or for nobody, an OAuth2 POST
 * for an identity token. https://distribution.github.io/distribution/spec/auth/token/ and …/auth/oauth/
 *
 * Undefined where the realm refuses these credentials.
 *
 * @throws Failure UNAVAILABLE; INSECURE_REALM where a password would go over plain HTTP for a registry that has TLS.
 */
export async function fetchToken(
  challenge: Challenge,
  scopes: readonly string[],
  credentials: Credentials | undefined,
  send: Send,
  options: { readonly userAgent: string; readonly isPlain: boolean; readonly signal?: AbortSignal | undefined },
): Promise<Token | undefined> {
  const { realm = "", service } = challenge.parameters;
  if (!URL.canParse(realm))
    throw new Failure(
      "UNAVAILABLE",
      "INVALID_CHALLENGE",
      `the registry's challenge names ${JSON.stringify(realm.slice(0, 200))} as its token server, which is no URL`,
    );
  const url = new URL(realm);
  if (url.protocol !== "https:" && (url.protocol !== "http:" || (!options.isPlain && credentials !== undefined)))
    throw new Failure(
      "FAILED_PRECONDITION",
      "INSECURE_REALM",
      `refusing to send credentials to ${plainUrl(url)}: it has no TLS`,
    );

  const headers: Record<string, string> = { "user-agent": options.userAgent, accept: "application/json" };
  const byOauth = credentials !== undefined && "identityToken" in credentials;
  let body: Uint8Array | undefined;
  if (byOauth) {
    const form = new URLSearchParams({
      grant_type: "refresh_token",
      client_id: "orlop",
      refresh_token: credentials.identityToken,
    });
    if (service !== undefined) form.set("service", service);
    form.set("scope", scopes.join(" "));
    headers["content-type"] = "application/x-www-form-urlencoded";
    body = Buffer.from(form.toString());
    headers["content-length"] = String(body.length);
  } else {
    if (service !== undefined) url.searchParams.set("service", service);
    for (const scope of scopes) url.searchParams.append("scope", scope);
    if (credentials !== undefined && "username" in credentials) headers["authorization"] = basic(credentials);
  }
  const method = byOauth ? "POST" : "GET";
  const response = await send({
    method,
    url,
    headers,
    signal: options.signal,
    ...(body === undefined ? {} : { body }),
  });
  const status = response.statusCode;
  if (status >= 400 && status < 500 && status !== 429 && status !== 408) {
    await response.body.dump();
    return undefined;
  }
  if (status !== 200) {
    await response.body.dump();
    const reason = status === 429 ? "TOO_MANY_REQUESTS" : "REGISTRY_UNAVAILABLE";
    const what = `failed to authorize: unexpected status from ${method} request to ${plainUrl(url)}: ${status}`;
    throw new Failure("UNAVAILABLE", reason, what);
  }
  return readToken(await readAnswer(response, url, options.signal), url);
}

export function basic({ username, password }: { readonly username: string; readonly password: string }): string {
  return `Basic ${Buffer.from(`${username}:${password}`, "utf8").toString("base64")}`;
}

async function readAnswer(response: WireResponse, url: URL, signal: AbortSignal | undefined): Promise<string> {
  const bytes = await readUpTo(response, url, ANSWER_LIMIT, signal);
  if (bytes === undefined) throw unusable(url, "it is larger than 1 MiB");
  return bytes.toString("utf8");
}

function readToken(text: string, url: URL): Token {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    // The parser quotes what it read, which may be a token.
    throw unusable(url, error instanceof SyntaxError ? "it is not JSON" : messageOf(error));
  }
  const answer = (json ?? {}) as { token?: unknown; access_token?: unknown; expires_in?: unknown };
  const value = [answer.token, answer.access_token].find((token) => typeof token === "string" && token !== "");
  if (typeof value !== "string" || !/^[\x21-\x7e]+$/.test(value)) throw unusable(url, "it holds no token");
  const seconds = typeof answer.expires_in === "number" && answer.expires_in > 0 ? answer.expires_in : LIFETIME;
  return { value, staleAt: Date.now() + seconds * 900 };
}

function unusable(url: URL, why: string): Failure {
  return new Failure(
    "UNAVAILABLE",
    "INVALID_TOKEN",
    `the answer of the token server ${plainUrl(url)} cannot be used: ${why}`,
  );
}
