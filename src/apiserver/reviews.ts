import type { ServerResponse } from "node:http";
import { decode } from "#k8s";
import { withAuthenticated } from "./authenticate.ts";
import { authorize } from "./authorize.ts";
import { decodeAs, readBody } from "./body.ts";
import type { Question } from "./discovery.ts";
import { FieldErrors } from "./field-errors.ts";
import type { ApiHost, Tokens } from "./ports.ts";
import { sendJson } from "./respond.ts";
import type { Access, ApiRequest, User } from "./router.ts";
import { badRequest } from "./status.ts";
import type { Storage } from "./storage.ts";

const question = (group: string, resource: string, kind: string, namespaced = false): Question => ({
  group: `${group}.k8s.io`,
  version: "v1",
  resource,
  kind,
  type: `${group === "authentication" ? "authn" : "authz"}.${kind}`,
  namespaced,
});

export const QUESTIONS: readonly Question[] = [
  question("authentication", "selfsubjectreviews", "SelfSubjectReview"),
  question("authentication", "tokenreviews", "TokenReview"),
  question("authorization", "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
  question("authorization", "selfsubjectrulesreviews", "SelfSubjectRulesReview"),
  question("authorization", "subjectaccessreviews", "SubjectAccessReview"),
  question("authorization", "localsubjectaccessreviews", "LocalSubjectAccessReview", true),
];

interface Spec {
  resourceAttributes?: {
    namespace?: string;
    verb?: string;
    group?: string;
    resource?: string;
    subresource?: string;
    name?: string;
  };
  nonResourceAttributes?: { path?: string; verb?: string };
  user?: string;
  groups?: string[];
  namespace?: string;
  token?: string;
  audiences?: string[];
}

export interface Knowledge {
  readonly storage: Storage;
  readonly host: ApiHost;
  readonly tokens: Tokens | undefined;
  readonly fixed: ReadonlyMap<string, User>;
}

/** Answers a question of authentication.k8s.io or authorization.k8s.io. */
export async function review(
  asked: Question,
  request: ApiRequest,
  response: ServerResponse,
  known: Knowledge,
): Promise<void> {
  const value = decodeAs(asked, await readBody(request, asked), "Ignore").object;
  const spec = (value["spec"] ?? {}) as Spec;
  const status = await answer(asked, spec, request.user, known);
  const kind = { kind: asked.kind, apiVersion: `${asked.group}/${asked.version}` };
  sendJson(request, response, 201, { ...kind, ...decode({ ...value, ...kind, status }, asked.type).value });
}

async function answer(asked: Question, spec: Spec, user: User, known: Knowledge): Promise<object> {
  switch (asked.kind) {
    case "SelfSubjectReview":
      return { userInfo: infoOf(user) };
    case "TokenReview":
      return reviewToken(spec, known);
    case "SelfSubjectRulesReview": {
      if (!spec.namespace) throw badRequest("no namespace on request");
      const all = user.groups.includes("system:masters");
      const create = (group: string, ...resources: string[]): object => ({
        verbs: ["create"],
        apiGroups: [`${group}.k8s.io`],
        resources,
      });
      const self = [
        create("authorization", "selfsubjectaccessreviews", "selfsubjectrulesreviews"),
        create("authentication", "selfsubjectreviews"),
      ];
      const isNode = user.name.startsWith("system:node:") && user.groups.includes("system:nodes");
      return {
        resourceRules: all ? [{ verbs: ["*"], apiGroups: ["*"], resources: ["*"] }] : self,
        nonResourceRules: [
          {
            verbs: all ? ["*"] : ["get"],
            nonResourceURLs: all
              ? ["*"]
              : [
                  "/api",
                  "/api/*",
                  "/apis",
                  "/apis/*",
                  "/healthz",
                  "/livez",
                  "/openapi",
                  "/openapi/*",
                  "/readyz",
                  "/version",
                  "/version/",
                ],
          },
        ],
        incomplete: isNode,
        ...(isNode ? { evaluationError: "node authorizer does not support user rule resolution" } : {}),
      };
    }
    default: {
      const self = asked.kind === "SelfSubjectAccessReview";
      checkSubject(spec, self);
      const who: User = self ? user : { name: spec.user ?? "", groups: spec.groups ?? [] };
      const { allowed, reason } = authorize(who, accessOf(spec), known.storage);
      return { allowed, ...(reason === undefined ? {} : { reason }) };
    }
  }
}

/** Upstream names no kind when it refuses a question. */
function checkSubject({ resourceAttributes, nonResourceAttributes, user, groups }: Spec, self: boolean): void {
  const errors = new FieldErrors();
  if (resourceAttributes !== undefined && nonResourceAttributes !== undefined)
    errors.invalid(
      "spec.nonResourceAttributes",
      nonResourceAttributes,
      "cannot be specified in combination with resourceAttributes",
    );
  if (resourceAttributes === undefined && nonResourceAttributes === undefined)
    errors.invalid(
      "spec.resourceAttributes",
      null,
      "exactly one of nonResourceAttributes or resourceAttributes must be specified",
    );
  if (!self && !user && (groups ?? []).length === 0)
    errors.invalid("spec.user", "", "at least one of user or group must be specified");
  errors.check("", "authorization.k8s.io", "");
}

const INVALID = "invalid bearer token";

/** Whether a token is good for one of the audiences asked for, this server's own where none is. */
async function reviewToken({ token = "", audiences }: Spec, { fixed, tokens, host }: Knowledge): Promise<object> {
  if (token === "") throw badRequest("token is required for TokenReview in authentication");
  const own = tokens?.audiences ?? [];
  const wanted = audiences !== undefined && audiences.length > 0 ? audiences : own;
  const user = fixed.get(token);
  const found = user === undefined ? await tokens?.verify(token, host) : { user, audiences: own };
  if (found === undefined) return { error: INVALID };
  const common = found.audiences.filter((one) => wanted.includes(one));
  if (common.length > 0) return { authenticated: true, user: infoOf(withAuthenticated(found.user)), audiences: common };
  const list = (all: readonly string[]): string => `[${all.map((one) => JSON.stringify(one)).join(" ")}]`;
  const why = `token audiences ${list(found.audiences)} is invalid for the target audiences ${list(wanted)}`;
  return { error: user === undefined ? `[${INVALID}, ${why}]` : INVALID };
}

const infoOf = (user: User): object => ({
  username: user.name,
  ...(user.uid === undefined ? {} : { uid: user.uid }),
  groups: user.groups,
  ...(user.extra === undefined ? {} : { extra: user.extra }),
});

function accessOf({ resourceAttributes: r, nonResourceAttributes: n }: Spec): Access {
  if (r === undefined) return { kind: "path", verb: n?.verb ?? "", path: n?.path ?? "" };
  return {
    kind: "resource",
    verb: r.verb ?? "",
    group: r.group ?? "",
    resource: r.resource ?? "",
    ...(r.subresource ? { subresource: r.subresource } : {}),
    ...(r.namespace ? { namespace: r.namespace } : {}),
    ...(r.name ? { name: r.name } : {}),
  };
}
