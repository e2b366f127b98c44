import type { ServerResponse } from "node:http";
import { messageOf } from "#base";
import { decode, isRecord, timestamp, type Pod } from "#k8s";
import { cannotHandle, readBody } from "./body.ts";
import { FieldErrors } from "./field-errors.ts";
import { serviceAccounts } from "./kinds/config.ts";
import type { Objects } from "./objects.ts";
import type { ApiHost, TokenClaims, Tokens } from "./ports.ts";
import { sendJson } from "./respond.ts";
import type { ApiRequest } from "./router.ts";
import { StatusError, badRequest, conflict, core, forbidden } from "./status.ts";
import { isDryRun } from "./write-options.ts";

const KIND = { version: "v1", kind: "TokenRequest", type: "authn.TokenRequest" };
const HOUR = 3600;
const MOST = 2 ** 32;

interface Spec {
  audiences?: string[] | null;
  expirationSeconds?: number | null;
  boundObjectRef?: { kind?: string; apiVersion?: string; name?: string; uid?: string } | null;
}

/** POST …/serviceaccounts/{name}/token: a signed token for the account, bound to an object where one is named. */
export async function requestToken(
  request: ApiRequest,
  response: ServerResponse,
  objects: Objects,
  host: ApiHost,
  tokens: Tokens | undefined,
): Promise<void> {
  if (tokens === undefined) throw new StatusError(503, "ServiceUnavailable", "this server signs no tokens");
  const body = await readBody(request, KIND);
  if (!isRecord(body)) throw badRequest("the object provided is unrecognized (must be of type TokenRequest)");
  let value: Record<string, unknown>;
  try {
    value = decode(body, KIND.type).value;
  } catch (cause) {
    throw cannotHandle(KIND, messageOf(cause));
  }
  const spec = (value["spec"] ?? {}) as Spec;
  const namespace = request.params["namespace"] ?? "";
  const name = request.params["name"] ?? "";
  const account = objects.get(serviceAccounts, namespace, name).object;
  const expirationSeconds = spec.expirationSeconds ?? HOUR;
  const errors = new FieldErrors();
  if (expirationSeconds < 600)
    errors.invalid("spec.expirationSeconds", expirationSeconds, "may not specify a duration less than 10 minutes");
  if (expirationSeconds > MOST)
    errors.invalid("spec.expirationSeconds", expirationSeconds, "may not specify a duration larger than 2^32 seconds");
  errors.check(KIND.kind, "authentication.k8s.io", "");
  const bound = boundObject(request, spec, namespace, name, host);
  const claims: TokenClaims = {
    namespace,
    serviceAccount: { name, uid: account.metadata?.uid ?? "" },
    audiences: spec.audiences ?? [],
    expirationSeconds,
    ...bound,
  };
  const issued = isDryRun(request.query)
    ? { token: "", audiences: claims.audiences, expiresAt: new Date(Date.now() + expirationSeconds * 1000) }
    : await tokens.issue(claims, { signal: request.signal });
  sendJson(request, response, 201, {
    kind: "TokenRequest",
    apiVersion: "authentication.k8s.io/v1",
    metadata: { name, namespace, uid: account.metadata?.uid, creationTimestamp: timestamp() },
    spec: { audiences: issued.audiences, expirationSeconds, boundObjectRef: spec.boundObjectRef ?? null },
    status: { token: issued.token, expirationTimestamp: timestamp(issued.expiresAt) },
  });
}

function boundObject(
  request: ApiRequest,
  spec: Spec,
  namespace: string,
  account: string,
  host: ApiHost,
): Pick<TokenClaims, "boundTo" | "node"> {
  const nodeUser = request.user.name.startsWith("system:node:");
  const ref = spec.boundObjectRef;
  if (ref == null) {
    if (nodeUser) throw forbidden(core("serviceaccounts"), account, "node requested token not bound to a pod");
    return {};
  }
  const resource = { Pod: "pods", Secret: "secrets", Node: "nodes" }[ref.kind ?? ""];
  if (resource === undefined || ref.apiVersion !== "v1")
    throw badRequest(
      `cannot bind token for serviceaccount "${account}" to type ${ref.apiVersion ?? ""}, Kind=${ref.kind ?? ""}`,
    );
  const object = host.get<Pod>(resource, resource === "nodes" ? "" : namespace, ref.name ?? "");
  const uid = object.metadata?.uid ?? "";
  if (ref.uid && ref.uid !== uid)
    throw conflict(
      core(resource),
      ref.name ?? "",
      `the UID in the bound object reference (${ref.uid}) does not match the UID in record. The object might have been deleted and then recreated`,
    );
  if (resource === "pods" && (object.spec?.serviceAccountName || "default") !== account)
    throw badRequest(
      `cannot bind token for serviceaccount "${account}" to pod running with different serviceaccount name.`,
    );
  if (nodeUser && (resource !== "pods" || `system:node:${object.spec?.nodeName ?? ""}` !== request.user.name))
    throw forbidden(
      core("serviceaccounts"),
      account,
      "node requested token bound to a pod scheduled on a different node",
    );
  const boundTo = { kind: ref.kind ?? "", name: ref.name ?? "", uid };
  if (resource !== "pods" || !object.spec?.nodeName) return { boundTo };
  try {
    const node = host.get("nodes", "", object.spec.nodeName);
    return { boundTo, node: { name: object.spec.nodeName, uid: node.metadata?.uid ?? "" } };
  } catch {
    return { boundTo };
  }
}
