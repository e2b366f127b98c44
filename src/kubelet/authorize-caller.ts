import type { IncomingMessage } from "node:http";
import type { TLSSocket } from "node:tls";
import { Failure } from "#base";
import type { Kubelet } from "./context.ts";

interface AccessReview {
  readonly status?: { readonly allowed?: boolean };
}

const VERBS: Readonly<Record<string, string>> = { GET: "get", HEAD: "get", POST: "create", PUT: "update" };

/**
 * Lets through whoever may use this node's proxy: administrators, as an API server is one, and others as the API server
 * says. A certificate of the cluster's authority alone proves only who somebody is.
 * @throws Failure FORBIDDEN
 */
export async function authorizeCaller(kubelet: Kubelet, request: IncomingMessage): Promise<void> {
  const { subject } = (request.socket as TLSSocket).getPeerCertificate();
  const user = namesOf(subject?.CN)[0] ?? "";
  const groups = namesOf(subject?.O);
  if (groups.includes("system:masters")) return;
  const verb = VERBS[request.method ?? ""] ?? "delete";
  const review = await kubelet.client.create<AccessReview>("/apis/authorization.k8s.io/v1/subjectaccessreviews", {
    apiVersion: "authorization.k8s.io/v1",
    kind: "SubjectAccessReview",
    spec: {
      user,
      groups: [...groups, "system:authenticated"],
      resourceAttributes: { verb, resource: "nodes", subresource: "proxy", version: "v1", name: kubelet.nodeName },
    },
  });
  if (review.status?.allowed === true) return;
  throw new Failure(
    "PERMISSION_DENIED",
    "FORBIDDEN",
    `Forbidden (user=${user}, verb=${verb}, resource=nodes, subresource=proxy)`,
  );
}

/** Node gives one name as a string and several as a list. */
function namesOf(names: string | string[] | undefined): string[] {
  return names === undefined ? [] : Array.isArray(names) ? names : [names];
}
