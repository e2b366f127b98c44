import { sign } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { makeCertificates, type Pair } from "./certificates.ts";
import type { TokenAuth } from "./docker-registry.ts";

export interface TokenServer extends AsyncDisposable {
  /** What a docker-registry needs in order to believe its tokens. */
  readonly auth: TokenAuth;
  /** Who asked (`orlop:secret`, or empty for nobody), and for which scopes, in order. */
  readonly asked: readonly (readonly [user: string, scopes: string])[];
}

/**
 * Gives tokens for docker-registry: to `orlop` with the password `secret` for all that is asked for; to nobody for pulls only, and
 * only where `isPublic`.
 */
export async function startTokenServer(isPublic: boolean): Promise<TokenServer> {
  const { ca, leaf } = makeCertificates();
  const asked: (readonly [string, string])[] = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? "", "http://tokens");
    const user = Buffer.from((request.headers.authorization ?? "").slice(6), "base64").toString();
    const scopes = url.searchParams.getAll("scope");
    asked.push([user, scopes.join(" ")]);
    const access = scopes.map((scope) => {
      const [type, name, actions = ""] = scope.split(":");
      return { type, name, actions: user !== "" ? actions.split(",") : isPublic ? ["pull"] : [] };
    });
    const isKnown = user === "" || user === "orlop:secret";
    const token = jwt(leaf, { aud: url.searchParams.get("service"), access });
    response.writeHead(isKnown ? 200 : 401).end(isKnown ? JSON.stringify({ token }) : "");
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const realm = `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}/token`;
  return {
    auth: { realm, service: "flows", issuer: "orlop", certificates: ca },
    asked,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

/** A token as docker-registry takes it: signed by the certificate that it carries. */
function jwt({ cert, key }: Pair, claims: object): string {
  const encode = (part: object): string => Buffer.from(JSON.stringify(part)).toString("base64url");
  const x5c = [cert.replace(/-----[A-Z ]+-----|\s/g, "")];
  const now = Math.floor(Date.now() / 1000);
  const body = { iss: "orlop", sub: "", jti: "1", iat: now, nbf: now - 10, exp: now + 300, ...claims };
  const text = `${encode({ typ: "JWT", alg: "ES256", x5c })}.${encode(body)}`;
  const signature = sign("sha256", Buffer.from(text), { key, dsaEncoding: "ieee-p1363" });
  return `${text}.${signature.toString("base64url")}`;
}
