import type { IncomingMessage } from "node:http";
import type { PeerCertificate, TLSSocket } from "node:tls";
import type { ApiHost, Tokens } from "./ports.ts";
import type { User } from "./router.ts";
import { unauthorized } from "./status.ts";

const CREDENTIAL_ID = "authentication.kubernetes.io/credential-id";
export const ANONYMOUS: User = { name: "system:anonymous", groups: ["system:unauthenticated"] };

/** Who may name users: the certificate authority (checked by TLS), fixed tokens, and signed tokens. */
export interface Authenticator {
  readonly fixed: ReadonlyMap<string, User>;
  readonly tokens?: Tokens | undefined;
  readonly host: ApiHost;
}

/** The user of a request. No credentials make it anonymous; wrong ones throw 401. */
export async function authenticate(request: IncomingMessage, { fixed, tokens, host }: Authenticator): Promise<User> {
  const certificate = ofCertificate(request);
  if (certificate !== undefined) return certificate;
  const header = request.headers.authorization;
  const protocols = request.headers["sec-websocket-protocol"] ?? "";
  const offered = /base64url\.bearer\.authorization\.k8s\.io\.([A-Za-z0-9_-]+)/.exec(protocols)?.[1];
  if (header === undefined && offered === undefined) return ANONYMOUS;
  const bearer = /^Bearer\s+(\S+)\s*$/i.exec(header ?? "")?.[1];
  const token = bearer ?? (offered === undefined ? undefined : Buffer.from(offered, "base64url").toString());
  if (token === undefined) throw unauthorized();
  const user = fixed.get(token) ?? (await ofToken(token, tokens, host));
  if (user === undefined) throw unauthorized();
  return withAuthenticated(user);
}

/** The user of a service-account token that is meant for this server. */
async function ofToken(token: string, tokens: Tokens | undefined, host: ApiHost): Promise<User | undefined> {
  const found = await tokens?.verify(token, host);
  return found?.audiences.some((one) => tokens?.audiences.includes(one)) === true ? found.user : undefined;
}

export function withAuthenticated(user: User): User {
  return user.groups.includes("system:authenticated")
    ? user
    : { ...user, groups: [...user.groups, "system:authenticated"] };
}

/** Reading a certificate costs as much as a small request, and a connection keeps its own. */
const known = new WeakMap<object, User | undefined>();

function ofCertificate(request: IncomingMessage): User | undefined {
  const socket = request.socket as Partial<TLSSocket>;
  if (socket.getPeerCertificate === undefined) return undefined;
  if (known.has(socket)) return known.get(socket);
  const { subject, fingerprint256 = "" } = socket.getPeerCertificate() as Partial<PeerCertificate>;
  if (subject !== undefined && socket.authorized !== true) throw unauthorized();
  const name = first(subject?.CN);
  const extra = { [CREDENTIAL_ID]: [`X509SHA256=${fingerprint256.replaceAll(":", "").toLowerCase()}`] };
  const user = name === undefined ? undefined : withAuthenticated({ name, groups: all(subject?.O), extra });
  known.set(socket, user);
  return user;
}

// Node gives one name as a string and several as a list.
const all = (value: string | string[] | undefined): string[] =>
  value === undefined ? [] : Array.isArray(value) ? value : [value];
const first = (value: string | string[] | undefined): string | undefined => all(value)[0];
