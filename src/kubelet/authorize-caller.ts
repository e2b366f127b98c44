import type { IncomingMessage } from "node:http";
import type { TLSSocket } from "node:tls";
import { Failure } from "#base";
import type { Kubelet } from "./context.ts";

interface User {
  readonly name: string;
  readonly groups: readonly string[];
}

interface AccessReview {
  readonly status?: { readonly allowed?: boolean };
}

interface TokenReview {
  readonly status?: {
    readonly authenticated?: boolean;
    readonly user?: { readonly username?: string; readonly groups?: readonly string[] };
  };
}

const VERBS: Readonly<Record<string, string>> = { GET: "get", HEAD: "get", POST: "create", PUT: "update" };
/** What of the node is asked for, by the first part of the path, where it is not its proxy. */
const SUBRESOURCES: Readonly<Record<string, string>> = { stats: "stats", metrics: "metrics" };

/**
 * Lets through whoever may use this node's API: administrators, as an API server is one, and others as the API server says. A
 * caller shows a certificate of the cluster's authority, or a bearer token that the API server knows; both prove only who
 * somebody is.
 *
 * @throws Failure UNAUTHORIZED, FORBIDDEN
 */
export async function authorizeCaller(kubelet: Kubelet, request: IncomingMessage): Promise<void> {
  const user = userOfCertificate(request.socket as TLSSocket) ?? (await userOfToken(kubelet, request));
  if (!user) throw new Failure("UNAUTHENTICATED", "UNAUTHORIZED", "Unauthorized");
  if (user.groups.includes("system:masters")) return;
  const verb = VERBS[request.method ?? ""] ?? "delete";
  const [, first = ""] = (request.url ?? "").split(/[/?]/);
  const subresource = SUBRESOURCES[first] ?? "proxy";
  const review = await kubelet.client.create<AccessReview>("/apis/authorization.k8s.io/v1/subjectaccessreviews", {
    apiVersion: "authorization.k8s.io/v1",
    kind: "SubjectAccessReview",
    spec: {
      user: user.name,
      groups: user.groups,
      resourceAttributes: { verb, resource: "nodes", subresource, version: "v1", name: kubelet.nodeName },
    },
  });
  if (review.status?.allowed === true) return;
  throw new Failure(
    "PERMISSION_DENIED",
    "FORBIDDEN",
    `Forbidden (user=${user.name}, verb=${verb}, resource=nodes, subresource(s)=[${subresource}])`,
  );
}

function userOfCertificate(socket: TLSSocket): User | undefined {
  if (!socket.authorized) return undefined;
  const { subject } = socket.getPeerCertificate();
  return { name: namesOf(subject?.CN)[0] ?? "", groups: [...namesOf(subject?.O), "system:authenticated"] };
}

async function userOfToken(kubelet: Kubelet, request: IncomingMessage): Promise<User | undefined> {
  const token = /^Bearer\s+(\S+)\s*$/i.exec(request.headers.authorization ?? "")?.[1];
  if (token === undefined) return undefined;
  const { status } = await kubelet.client.create<TokenReview>("/apis/authentication.k8s.io/v1/tokenreviews", {
    apiVersion: "authentication.k8s.io/v1",
    kind: "TokenReview",
    spec: { token },
  });
  if (status?.authenticated !== true) return undefined;
  return { name: status.user?.username ?? "", groups: status.user?.groups ?? [] };
}

/** Node gives one name as a string and several as a list. */
function namesOf(names: string | string[] | undefined): string[] {
  return names === undefined ? [] : Array.isArray(names) ? names : [names];
}
